"""What is done with the results of one sweep: its report, its check, its place in history."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from harness import history as over_time
from harness import verify as checking
from harness.console import Console
from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from harness.commands.options import Asked


def report(asked: Asked) -> ExitStatus:
    """Write the report of a sweep again from its result files, in the formats asked for."""
    folder = _folder("report", asked)
    import reports  # noqa: PLC0415 - heavy

    chosen = asked.keys["format"].split(",")
    formats = list(reports.FILES) if "all" in chosen else list(dict.fromkeys(chosen))
    if "--open" in asked.flags and "html" not in formats:
        raise UsageError(f"report: --open shows the page; add html: format=html,{formats[0]}")
    out = asked.keys.get("out")
    try:
        written = reports.write(folder, formats, out=out)
    except OSError as error:
        place = out or folder
        raise UsageError(f"report: {place}: cannot be written ({error.strerror})") from error
    for path in written.values():
        Console().say(str(path))
    if "--open" in asked.flags:
        webbrowser.open(written["html"].resolve().as_uri())
    return ExitStatus.FINE


def _folder(command: str, asked: Asked) -> Path:
    folder = Path(asked.words[0])
    if not folder.is_dir():
        raise UsageError(f"{command} {folder}: there is no such folder; name a sweep's folder")
    return folder


def verify(asked: Asked) -> ExitStatus:
    """Compute every stored summary again from the raw samples; check schema and hashes."""
    folder = _folder("verify", asked)
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


def history(asked: Asked) -> ExitStatus:
    """Show a metric over time: every trial of a point in any number of sweeps."""
    places = [Path(word) for word in asked.words] or [Path("outputs")]
    keys = asked.keys
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
