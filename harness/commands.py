"""The subcommands: everything `python -m harness WORD ...` does beside measuring."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument as every other wrong input is reported: in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{self.prog}: {message}")


def _report(arguments: Sequence[str]) -> ExitStatus:
    """Render the report of a sweep again from its result files."""
    parser = _Parser(prog="harness report", description=_report.__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    chosen = parser.parse_args(arguments)
    from harness.console import Console  # noqa: PLC0415 - only when asked for

    if not chosen.folder.is_dir():
        raise UsageError(f"report {chosen.folder}: there is no such folder; name a sweep's folder")
    import reports  # noqa: PLC0415 - heavy

    page = reports.render(chosen.folder)
    Console().say(str(page))
    if chosen.open:
        import webbrowser  # noqa: PLC0415

        webbrowser.open(page.resolve().as_uri())
    return ExitStatus.FINE


def _backends(arguments: Sequence[str]) -> ExitStatus:
    """List the backends found here, with their options, and what is wrong with broken ones."""
    parser = _Parser(prog="harness backends", description=_backends.__doc__)
    parser.add_argument("--python", default=None, help="interpreter of the measured side")
    chosen = parser.parse_args(arguments)
    from harness import extensions  # noqa: PLC0415
    from harness.console import Console  # noqa: PLC0415

    console = Console()
    for one in extensions.describe(chosen.python):
        console.say(f"{one['name']}  ({one['origin']})")
        if one.get("error"):
            console.say(f"  broken: {one['error']}")
        for option in one.get("options", []):
            default = "chosen by the backend" if option["default"] is None else option["default"]
            console.say(f"  {option['name']} ({option['type']}, {default}): {option['help']}")
    return ExitStatus.FINE


COMMANDS: dict[str, Callable[[Sequence[str]], ExitStatus]] = {
    "backends": _backends,
    "report": _report,
}


def run(word: str, arguments: Sequence[str]) -> ExitStatus:
    """Run a subcommand.

    Raises:
        UsageError: there is no such subcommand, or its arguments are wrong.
    """
    if word not in COMMANDS:
        possible = ", ".join(sorted(COMMANDS))
        raise UsageError(f"'{word}' is neither key=value nor a command; commands: {possible}")
    return COMMANDS[word](arguments)
