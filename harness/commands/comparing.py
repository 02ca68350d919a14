"""Two sweeps against each other, and the baselines kept for that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import accuracy, baselines, compat, fitness, naming, results
from harness import compare as comparing
from harness.console import Console
from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.commands.options import Asked


def compare(asked: Asked) -> ExitStatus:
    """Compare two sweeps, or with rule=compat two of the original's logs."""
    keys = asked.keys
    delta = _share(keys["delta"])
    if "occasion_sd" in keys:
        occasions = comparing.Occasions(_share(keys["occasion_sd"], "occasion_sd"))
    else:
        for line in fitness.set_aside():
            Console().notice(line)
        measured = fitness.occasion_sd()
        occasions = (
            comparing.Occasions()
            if measured is None
            else comparing.Occasions(measured, measured=True)
        )
    paths = [baselines.resolve(word, "compare ") for word in asked.words]
    if len(paths) == 1:
        found = baselines.judge(paths[0], delta=delta)
    elif keys["rule"] == "compat":
        return _compat(*paths)
    else:
        found = comparing.compare(
            _trials(paths[0]),
            _trials(paths[1]),
            delta=delta,
            across_hardware=keys["across"] == "hardware",
            occasions=occasions,
        )
    import reports.comparisons as shown  # noqa: PLC0415 - heavy

    if keys["format"] == "html" and len(paths) == 1 and "out" in keys:
        text = shown.page(found, _own_page(paths[0], Path(keys["out"])))
    else:
        text = shown.FORMATS[keys["format"]](found)
    _deliver(text, keys.get("out"))
    return found.status(fail_on_unresolved=keys["fail_on"] == "unresolved")


def _own_page(folder: Path, out: Path) -> str | None:
    """Return the address of a sweep's own page for a page in the file `out`; None without one."""
    from reports import REPORT  # noqa: PLC0415 - as above
    from reports.html import address  # noqa: PLC0415

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
    found = results.load_sweep(folder)
    if found.problems:
        raise UsageError(found.problems[0])
    if not found.trials:
        raise UsageError(f"{folder}: holds no result file; name a sweep's folder")
    return list(found.trials)


def _compat(base: Path, new: Path) -> ExitStatus:
    from reports.comparisons import compat_text  # noqa: PLC0415

    if base.is_dir() != new.is_dir():
        raise UsageError(f"compare {base} {new}: a sweep and a log; name two of one kind")
    sides = [_rates(path) for path in (base, new)]
    rows = [
        row
        for name in dict.fromkeys([*sides[0], *sides[1]])
        for row in comparing.compat_rows(name, sides[0].get(name, {}), sides[1].get(name, {}))
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
            [compat.log_name(one) for one in trials], [one["point"] for one in trials]
        )
        return {
            name: {
                device: block["fields"].get(compat.ITEMS_PER_SECOND)
                for device, block in trial["compat"].items()
            }
            for name, trial in zip(names, trials, strict=True)
        }
    blocks = compat.read_log(path)
    # Two logs are compared whatever they are called.
    return {"log": {one.device: one.fields.get(compat.ITEMS_PER_SECOND) for one in blocks}}


def baseline(asked: Asked) -> ExitStatus:
    """Save a sweep's results under a name, or list the names."""
    console, words = Console(), asked.words
    if words == ("list",):
        for line in baselines.describe():
            console.say(line)
        if not baselines.names():
            console.say(f"no baseline is saved in {baselines.home()}")
        return ExitStatus.FINE
    if len(words) != 3 or words[0] != "save":  # noqa: PLR2004 - save, a name, a folder
        raise UsageError("baseline: `baseline save NAME DIR [overwrite=true]` or `baseline list`")
    place = baselines.save(words[1], Path(words[2]), overwrite=asked.keys["overwrite"] == "true")
    console.say(f"{words[1]} saved in {place}")
    return ExitStatus.FINE
