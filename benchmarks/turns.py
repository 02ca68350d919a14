"""Contestants take turns at a piece of work, each in a process of its own.

One turn runs everybody once, in rotated order: a neighbour on the same host disturbs single turns,
and a ratio taken within its turn is disturbed least. Where everybody fits into memory all stay
loaded; else one is loaded at a time, and anew in each turn.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import works
from benchmarks.child import Child, ChildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.engines import Task
    from benchmarks.works import Work

    Said = Callable[[str, int], None]
    """Told what is going on, and how many turns are done."""


PAUSE_S = 0.02
"""After each run: idle threads of most runtimes sleep after some milliseconds."""
BUDGET_BYTES = 16e9
"""All that is loaded together stays below this, and below half of what is free."""


@dataclass
class Seat:
    """A contestant at one piece of work, and what came of it."""

    name: str
    task: Task | None
    """What is timed; None where it cannot run."""
    reason: str | None = None
    """Why it cannot run, None where it does."""
    checked: Task | None = None
    """What is held against the reference; None: nothing besides what is timed, if that."""
    off: dict[str, Any] = field(default_factory=dict)
    linger_s: float = PAUSE_S
    """So long its idle threads may disturb who comes next."""
    runtime: str | None = None
    effective: dict[str, dict[str, Any]] = field(default_factory=dict)
    wall_s: list[float] = field(default_factory=list)
    """Of one run, in each turn."""
    cpu_s: list[float] = field(default_factory=list)
    resident_bytes: int | None = None

    def met(self, child: Child) -> None:
        """Note what its process says of itself."""
        self.runtime, self.effective = child.runtime, child.effective

    def time(self, child: Child, work: Work) -> None:
        """Run a turn."""
        wall, cpu = child.run(work.block, work.warm)
        self.wall_s.append(wall / work.block)
        self.cpu_s.append(cpu / work.block)

    def as_dict(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {
            "name": self.name, "reason": self.reason, "runtime": self.runtime,
            "effective": self.effective, "wall_s": self.wall_s, "cpu_s": self.cpu_s,
            "off": self.off, "resident_bytes": self.resident_bytes,
        }  # fmt: skip


class Judge:
    """Holds results against those of the reference.

    Args:
        base: name of the reference's seat.
        folder: for the results on their way.
    """

    def __init__(self, base: str, folder: Path) -> None:
        self._base, self._path = base, folder / "results.npz"
        self._found: dict[str, dict[str, Any]] = {}

    def look(self, seat: Seat, child: Child) -> None:
        """Take the results of one run."""
        self._found[seat.name] = child.results(self._path)

    def look_at_all(self, seats: Sequence[Seat]) -> None:
        """Start those who are checked apart from what is timed, one after the other."""
        for seat in _able(seats):
            if seat.checked is None:
                continue
            try:
                with Child(seat.checked) as child:
                    self.look(seat, child)
            except ChildError as error:
                seat.off = {"reason": str(error)}

    def settle(self, seats: Sequence[Seat]) -> None:
        """Say of each how far its results are from the reference's."""
        exact = self._found.get(self._base)
        for seat in seats:
            found, task = self._found.get(seat.name), seat.checked or seat.task
            if found is None or task is None:
                continue
            if exact is None:
                seat.off = {"reason": "the reference did not run"}
            elif seat.name == self._base:
                seat.off = {"reason": "the reference"}
            else:
                seat.off = works.off(task.work, task.setup, exact, found)


def take(
    seats: Sequence[Seat], work: Work, turns: int, said: Said, judge: Judge | None = None
) -> str:
    """Run everybody so many turns; what cannot go on is left with its reason.

    An interruption leaves the turns that were finished.

    Args:
        seats: gets the seconds.
        work: what is run.
        turns: how many.
        said: told of the progress.
        judge: looks at the results of what is timed.

    Returns:
        How many contestants were loaded at a time, in words.
    """
    memory = min(BUDGET_BYTES, psutil.virtual_memory().available / 2)
    alone = work.alone or work.child_bytes * len(_able(seats)) > memory
    try:
        (_one_by_one if alone else _together)(seats, work, turns, said, judge)
    finally:
        _even(seats)
    return "one at a time" if alone else "all at once"


def _even(seats: Sequence[Seat]) -> None:
    """Drop the turn that was not finished, where somebody interrupted it: a turn is everybody's."""
    whole = min((len(one.wall_s) for one in _able(seats)), default=0)
    for one in seats:
        del one.wall_s[whole:], one.cpu_s[whole:]


def _able(seats: Sequence[Seat]) -> list[Seat]:
    return [one for one in seats if one.reason is None and one.task is not None]


def _rotated(seats: Sequence[Seat], turn: int) -> Iterator[Seat]:
    """Yield everybody who can still run, a different one first in each turn."""
    able = _able(seats)
    first = turn % max(1, len(able))
    yield from (*able[first:], *able[:first])


def _first(seat: Seat, child: Child, judge: Judge | None) -> None:
    """Run once without timing: memory is taken, and results are looked at where somebody does."""
    seat.met(child)
    if judge is None:
        child.run()
    else:
        judge.look(seat, child)


def _started(task: Task | None) -> Child:
    if task is None:
        raise ChildError("there is nothing to run")
    return Child(task)


def _together(
    seats: Sequence[Seat], work: Work, turns: int, said: Said, judge: Judge | None
) -> None:
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for seat in _able(seats):
            said(f"loading {seat.name}", 0)
            try:
                children[seat.name] = stack.enter_context(_started(seat.task))
                _first(seat, children[seat.name], judge)
            except ChildError as error:
                seat.reason = str(error)
        for turn in range(turns):
            for seat in _rotated(seats, turn):
                said(seat.name, turn)
                try:
                    seat.time(children[seat.name], work)
                except ChildError as error:
                    seat.reason = str(error)
                time.sleep(seat.linger_s)
        for seat in _able(seats):
            seat.resident_bytes = _closed(children[seat.name])


def _one_by_one(
    seats: Sequence[Seat], work: Work, turns: int, said: Said, judge: Judge | None
) -> None:
    for turn in range(turns):
        for seat in _rotated(seats, turn):
            said(seat.name, turn)
            try:
                with _started(seat.task) as child:
                    _first(seat, child, None if turn else judge)
                    seat.time(child, work)
                    seat.resident_bytes = _closed(child)
            except ChildError as error:
                seat.reason = str(error)


def _closed(child: Child) -> int | None:
    """End a process that has done its work; what it says while it ends changes nothing."""
    try:
        return child.close()
    except ChildError:
        return None
