"""One command, start to end: plan -> measure -> show -> save -> report -> exit status."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness import compat, extensions, results
from harness import folder as folders
from harness.console import Console
from harness.errors import ExitStatus, UsageError
from harness.plan import Planner
from harness.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

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
    points = Planner(console.notice).plan(configs)
    logs = _log_files(points)
    folder = folders.create(Path(configs[0].outputs))
    command = shlex.join(["python", "-m", "harness", *sys.argv[1:]])
    sweep = Sweep(points, folder, console, command)
    with _Interrupt(console) as interrupt:
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
    return status


def _report(folder: Path) -> Path:
    import reports  # noqa: PLC0415 - shown after measuring, and heavy

    return reports.render(folder)


def _log_files(points: Sequence[PlannedPoint]) -> dict[str, Path | None]:
    files = {point.point.id: point.config.log_file for point in points}
    named = [name for name in files.values() if name]
    if len(set(named)) < len(named):
        raise UsageError(
            f"log_file={named[0]}: {len(named)} points would write the same file; use "
            "log_file='${quant}_${bs}_${il}_log_perf' or leave it out"
        )
    return {key: Path(name) if name else None for key, name in files.items()}


class _Interrupt:
    """Ctrl-C or SIGTERM once: finish the iteration, save, report. Twice: stop now."""

    def __init__(self, console: Console) -> None:
        self.asked = False
        self._console = console
        self._before: dict[int, object] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        name = signal.Signals(number).name
        self._console.notice(f"{name}: finishing this block, then saving; again to stop now")

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
