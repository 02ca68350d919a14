"""Where a sweep goes: a folder to continue or a new one, held while it is written to."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from harness import files
from harness.errors import UsageError
from harness.planning import forecast, resume, trust
from harness.records import sweep_folder
from harness.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.commands.console import Console
    from harness.config.schema import Config
    from harness.measuring.sweep import Session
    from harness.planning.planner import PlannedPoint


def place(
    config: Config, asked: resume.SweepRequest, console: Console, *, launched: bool
) -> resume.SweepPlace:
    """Return where the first round goes.

    Args:
        config: of the command's first point.
        asked: the sweep, in terms that a folder can be held against.
        console: told what is not continued, and why.
        launched: a launcher measures the points, which is not taken from a stranger's folder.

    Raises:
        UsageError: the folder named cannot be continued.
    """
    if config.resume == "never":
        return resume.anew()
    if config.resume == "auto":
        chosen = resume.automatic(Path(config.outputs), asked, console.notice)
    else:
        chosen = resume.named(Path(config.resume), asked)
    if chosen.folder is None or not launched:
        return chosen
    try:
        trust.refuse_launcher(f"resume={config.resume}", chosen.folder, config.allow)
    except UsageError as error:
        if config.resume != "auto":
            raise
        console.notice(f"{chosen.folder} is not continued ({error}): measured anew")
        return resume.anew()
    return chosen


def show_plan(
    points: Sequence[PlannedPoint],
    session: Session,
    config: Config,
    console: Console,
    folder: Path | None,
) -> None:
    """Show the plan.

    Raises:
        UsageError: the disk has no room for the results.
    """
    outputs = Path(config.outputs) if folder is None else folder.parent
    rows = forecast.forecast(points, outputs, folder, retry=session.asked.retry)
    total = forecast.total(rows, outputs)
    console.plan(rows, total, folder)
    if total.size_bytes > total.free_bytes and not config.plan:
        raise UsageError(
            f"outputs={outputs}: {size(total.free_bytes)} free, about {size(total.size_bytes)} "
            "needed; `python -m harness clean` finds what may go, or name another folder"
        )


@contextlib.contextmanager
def held(
    session: Session, config: Config, console: Console
) -> Iterator[tuple[Path, sweep_folder.Lock]]:
    """Hold the folder of a round while it is measured: the one to continue, or a new one.

    Raises:
        UsageError: the folder named is in use, or none can be made.
    """
    with contextlib.ExitStack() as stack:
        folder, lock = session.place.folder, None
        if folder is not None:
            try:
                lock = stack.enter_context(sweep_folder.Lock(folder))
            except UsageError as error:
                if config.resume != "auto":
                    raise
                if isinstance(error, sweep_folder.LockFileError):
                    console.notice(f"{error}; measured anew meanwhile")
                session.place = resume.anew()  # another process was faster
            else:
                files.drop_leavings(folder)
                how = "was killed" if lock.left_behind else "ended early"
                console.notice(f"continuing {folder}, which {how}; resume=never starts afresh")
        if folder is None or lock is None:
            folder = sweep_folder.create(Path(config.outputs))
            lock = stack.enter_context(sweep_folder.Lock(folder))
        yield folder, lock
