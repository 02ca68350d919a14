"""One command, start to end: plan -> measure -> show -> save -> report -> exit status."""

from __future__ import annotations

import secrets
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness import baselines, comparison, compat, extensions, results
from harness.config import FailOn
from harness.console import Console
from harness.errors import ExitStatus, UsageError
from harness.interrupt import Interrupt
from harness.plan import Planner
from harness.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.config import Config
    from harness.plan import PlannedPoint


def run(configs: Sequence[Config]) -> ExitStatus:
    """Measure the points of one command and leave their results, log and report behind.

    Raises:
        UsageError: something cannot be measured as asked; nothing has been measured.
    """
    console = Console()
    for line in extensions.broken():
        console.notice(line)
    planner = Planner(console.notice)
    points = planner.plan(configs)
    logs = _log_files(points)
    beside = baselines.beside(points, planner)
    folder = _new_folder(Path(configs[0].outputs))
    command = shlex.join(["python", "-m", "harness", *sys.argv[1:]])
    points = [*points, *beside.points]
    sweep = Sweep(points, folder, console, command, beside.pairs)
    with Interrupt(console) as interrupt:
        sweep.stopped = lambda: interrupt.asked
        console.plan(points, folder)
        status = sweep.run()
    saved = results.load_sweep(folder)
    for trial in saved.trials:
        log = logs[trial["point"]["id"]] or folder / "logs" / compat.log_name(trial)
        if trial["summary"]:
            compat.write_log(log, trial)
    console.say()
    console.table(saved.trials)
    for path in (folder / "summary.csv", _report(folder)):
        console.say(str(path))
    return ExitStatus.worst({status, _judge(configs[0], folder, console)})


def _judge(config: Config, folder: Path, console: Console) -> ExitStatus:
    """Say what the comparison with the baseline found, where one was asked for."""
    if config.baseline is None:
        return ExitStatus.FINE
    from reports import comparisons  # noqa: PLC0415 - shown after measuring

    found = baselines.judge(folder, delta=comparison.MINIMUM_EFFECT)
    console.say()
    console.say(comparisons.to_text(found).rstrip())
    for path in comparisons.write(found, folder):
        console.say(str(path))
    return found.status(fail_on_unresolved=config.fail_on is FailOn.unresolved)


def _report(folder: Path) -> Path:
    import reports  # noqa: PLC0415 - shown after measuring, and heavy

    return reports.render(folder)


def _new_folder(outputs: Path) -> Path:
    # A second is too coarse: two sweeps started together must not share a folder.
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = outputs / f"{stamp}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"outputs={outputs}: cannot be written ({error.strerror}); name another folder"
        ) from error
    return folder


def _log_files(points: Sequence[PlannedPoint]) -> dict[str, Path | None]:
    files = {point.point.id: point.config.log_file for point in points}
    named = [name for name in files.values() if name]
    if len(set(named)) < len(named):
        raise UsageError(
            f"log_file={named[0]}: {len(named)} points would write the same file; use "
            "log_file='${quant}_${bs}_${il}_log_perf' or leave it out"
        )
    return {key: Path(name) if name else None for key, name in files.items()}
