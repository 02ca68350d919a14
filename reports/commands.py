"""The commands that show results: report, compare, history."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import naming
from harness.analysis import accuracy, compat
from harness.commands.console import Console
from harness.commands.options import existing_folder
from harness.errors import ExitStatus, UsageError
from harness.judging import comparison, compat_log, side_by_side
from harness.judging import history as over_time
from harness.machine import host
from harness.records import baselines as records_baselines
from harness.records import result_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.commands.options import Asked


def compare(asked: Asked) -> ExitStatus:
    """Compare two sweeps, or with rule=compat two of the original's logs."""
    keys = asked.keys
    delta = _share(keys["delta"])
    if "occasion_sd" in keys:
        occasions = comparison.Occasions(_share(keys["occasion_sd"], "occasion_sd"))
    else:
        for line in host.set_aside():
            Console().notice(line)
        measured = host.occasion_sd()
        occasions = (
            comparison.Occasions()
            if measured is None
            else comparison.Occasions(measured, measured=True)
        )
    paths = [records_baselines.resolve(word, "compare ") for word in asked.words]
    if len(paths) == 1:
        found = side_by_side.judge(paths[0], delta=delta)
    elif keys["rule"] == "compat":
        return _compat(*paths)
    else:
        found = comparison.compare(
            _trials(paths[0]),
            _trials(paths[1]),
            delta=delta,
            across_hardware=keys["across"] == "hardware",
            occasions=occasions,
        )

    from reports.exports import comparison as written  # noqa: PLC0415 - heavy

    if keys["format"] == "html" and len(paths) == 1 and "out" in keys:
        text = written.page(found, _own_page(paths[0], Path(keys["out"])))
    else:
        text = written.FORMATS[keys["format"]](found)
    _deliver(text, keys.get("out"))
    return found.status(fail_on_unresolved=keys["fail_on"] == "unresolved")


def _own_page(folder: Path, out: Path) -> str | None:
    """Return the address of a sweep's own page for a page in the file `out`; None without one."""
    from reports import REPORT  # noqa: PLC0415 - as above
    from reports.pages.render import address  # noqa: PLC0415

    page = folder / REPORT
    return address(page, out.parent) if page.is_file() else None


def _deliver(text: str, out: str | None) -> None:
    """Print a text, or write it to the file asked for."""
    if out is None:
        sys.stdout.write(text)
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"compare: out={out}: cannot be written ({error.strerror})") from error


def _share(text: str, key: str = "delta") -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UsageError(f"compare: {key}={text}: a share above 0 and below 1, such as 0.02")
    return value


def _trials(folder: Path) -> list[Mapping[str, Any]]:

    if not folder.is_dir():
        raise UsageError(f"{folder}: not a sweep's folder; logs are compared with rule=compat")
    found = result_file.load_sweep(folder)
    if found.problems:
        raise UsageError(found.problems[0])
    if not found.trials:
        raise UsageError(f"{folder}: holds no result file; name a sweep's folder")
    return list(found.trials)


def _compat(base: Path, new: Path) -> ExitStatus:
    from reports.exports.comparison import compat_text  # noqa: PLC0415

    if base.is_dir() != new.is_dir():
        raise UsageError(f"compare {base} {new}: a sweep and a log; name two of one kind")
    sides = [_rates(path) for path in (base, new)]
    rows = [
        row
        for name in dict.fromkeys([*sides[0], *sides[1]])
        for row in comparison.compat_rows(name, sides[0].get(name, {}), sides[1].get(name, {}))
    ]
    sys.stdout.write(compat_text(rows))
    found = {ExitStatus.REGRESSION for row in rows if row.verdict == "fail"}
    inaccurate = [one for one in (_trials(new) if new.is_dir() else ()) if accuracy.failed(one)]
    for trial in inaccurate:
        sys.stdout.write(f"accuracy failed in the candidate: {trial['point']['name']}\n")
        found.add(ExitStatus.ACCURACY_FAILED)
    return ExitStatus.worst(found)


def _rates(path: Path) -> dict[str, dict[str, float | None]]:
    """Return the original's items per second by log name and device."""
    if path.is_dir():
        trials = _trials(path)
        names = naming.log_names(
            [compat_log.log_name(one) for one in trials], [one["point"] for one in trials]
        )
        return {
            name: {
                device: block["fields"].get(compat.ITEMS_PER_SECOND)
                for device, block in trial["compat"].items()
            }
            for name, trial in zip(names, trials, strict=True)
        }
    blocks = compat_log.read_log(path)
    # Two logs are compared whatever they are called.
    return {"log": {one.device: one.fields.get(compat.ITEMS_PER_SECOND) for one in blocks}}


def report(asked: Asked) -> ExitStatus:
    """Write the report of a sweep again from its result files, in the formats asked for."""
    folder = existing_folder("report", asked)
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


def history(asked: Asked) -> ExitStatus:
    """Show a metric over time: every trial of a point in any number of sweeps."""
    places = [Path(word) for word in asked.words] or [Path("outputs")]
    keys = asked.keys
    for place in places:
        if not place.is_dir():
            raise UsageError(f"history {place}: there is no such folder")
    import reports.exports.history as shown  # noqa: PLC0415 - heavy

    found = over_time.trends(places, metric=keys.get("metric", ""), point=keys.get("point", ""))
    if not found:
        raise UsageError("history: no measured point matches; leave point= out to see all")
    sys.stdout.write(shown.FORMATS[keys["format"]](found))
    if "plot" in keys:
        sys.stdout.write(f"{shown.plot(found, Path(keys['plot']))}\n")
    return ExitStatus.FINE
