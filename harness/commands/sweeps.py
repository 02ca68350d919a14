"""What is done with the results of one sweep: its report, its check, its place in history."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from harness import history as over_time
from harness import verify as checking
from harness.commands import options
from harness.console import Console
from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def report(arguments: Sequence[str]) -> ExitStatus:
    """Render the report of a sweep again from its result files."""
    parser = options.Parser(prog="harness report", description=report.__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    chosen = parser.parse_args(arguments)

    if not chosen.folder.is_dir():
        raise UsageError(f"report {chosen.folder}: there is no such folder; name a sweep's folder")
    import reports  # noqa: PLC0415 - heavy

    page = reports.render(chosen.folder)
    Console().say(str(page))
    if chosen.open:
        webbrowser.open(page.resolve().as_uri())
    return ExitStatus.FINE


def verify(arguments: Sequence[str]) -> ExitStatus:
    """Compute every stored summary again from the raw samples; check schema and hashes."""
    parser = options.Parser(prog="harness verify", description=verify.__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep")
    folder: Path = parser.parse_args(arguments).folder
    if not folder.is_dir():
        raise UsageError(f"verify {folder}: there is no such folder; name a sweep's folder")

    console, checked = Console(), 0
    problems: list[str] = []
    for path in checking.files(folder):
        checked += 1
        problems += checking.problems(path)
    for line in problems:
        console.say(line)
    if not checked:
        raise UsageError(f"verify {folder}: holds no result file; name a sweep's folder")
    console.say(f"{checked} result files checked, {len(problems)} problems")
    return ExitStatus.ERROR if problems else ExitStatus.FINE


HISTORY_KEYS = {"metric": (), "point": (), "format": ("text", "csv", "json"), "plot": ()}


def history(arguments: Sequence[str]) -> ExitStatus:
    """Show a metric over time: every trial of a point in any number of sweeps."""
    places = [Path(word) for word in arguments if "=" not in word] or [Path("outputs")]
    keys = options.keys("history", [word for word in arguments if "=" in word], HISTORY_KEYS)
    for place in places:
        if not place.is_dir():
            raise UsageError(f"history {place}: there is no such folder")
    import reports.trends as shown  # noqa: PLC0415 - heavy

    found = over_time.trends(places, metric=keys.get("metric", ""), point=keys.get("point", ""))
    if not found:
        raise UsageError("history: no measured point matches; leave point= out to see all")
    sys.stdout.write(shown.FORMATS[keys["format"]](found))
    if "plot" in keys:
        sys.stdout.write(f"{shown.plot(found, Path(keys['plot']))}\n")
    return ExitStatus.FINE
