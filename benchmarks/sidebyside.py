"""Side by side: PyTorch, the exporter's graph, the contract's files, every mode, the limit.

Raw seconds are kept as JSON, from which `benchmarks.table` makes the table, at once or later.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import contestants, limits, machine, summary, table, turns, works
from benchmarks.contestants import BASE, DRAWS_ITSELF, EXPORTER, Contestant
from benchmarks.files import Files
from benchmarks.progress import Progress
from benchmarks.turns import Judge, Seat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.works import Setup, Work


SCHEMA = {"name": "benchmarks.sidebyside", "major": 1, "minor": 0}


@dataclass(frozen=True)
class Asked:
    """What of it is run."""

    setup: Setup
    works: Sequence[str] = tuple(works.WORKS)
    batches: Sequence[int] | None = None
    """Of the decoder step and Tacotron 2; None: all of them."""
    turns: int | None = None
    """None: as many as each piece of work has."""
    out: Path | None = None
    """Where the table goes, besides standard output; the raw seconds go beside it."""

    def pieces(self) -> Iterator[tuple[Work, int]]:
        """Yield every piece of work with its batch size."""
        for name in self.works:
            work = works.WORKS[name]
            several = len(work.batches) > 1
            batches = self.batches if several and self.batches else work.batches
            yield from ((work, rows) for rows in batches)


def run(
    asked: Asked, found: Sequence[Contestant], folder: Path, limit: Mapping[str, Any]
) -> dict[str, Any]:
    """Run everybody; return what is kept, written to a file after each piece of work.

    An interruption leaves what was finished in the file.

    Args:
        asked: what is run.
        found: who runs.
        folder: an existing folder for model files and compiled models.
        limit: what the machine can do at most, as `limits.record` returns it.
    """
    pieces = list(asked.pieces())
    progress = Progress([work.name for work, _ in pieces])
    files = Files(asked.setup, folder, asked.works, progress.notify)
    kept: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": machine.facts(),
        "setup": asdict(asked.setup),
        "limits": dict(limit),
        "states": [machine.state()],
        "absent": [
            {"name": one.name, "reason": one.reason} for one in found if one.reason is not None
        ],
        "groups": [],
    }
    able = [one for one in found if one.reason is None]
    for work, rows in pieces:
        progress.begin(f"{work.name}, batch {rows}", asked.turns or work.turns)
        seats = [_seat(one, work, rows, files) for one in able]
        loaded = None
        try:
            loaded = _measure(seats, work, asked.turns or work.turns, progress, folder)
        finally:
            group = _group(work, rows, seats, files, asked.setup)
            kept["groups"].append({**group, "loaded": loaded})
            kept["states"].append(machine.state())
            if asked.out:
                keep(kept, asked.out)
        progress.end()
    return kept


def _measure(
    seats: Sequence[Seat], work: Work, count: int, progress: Progress, folder: Path
) -> str:
    """Hold results against the reference's, then take turns; what is there stays when it ends."""
    judge = Judge(BASE, folder)
    try:
        progress.say("comparing results")
        judge.look_at_all(seats)
        judged = judge if work.name == works.WAVEGLOW else None
        return turns.take(seats, work, count, progress.say, judged)
    finally:
        judge.settle(seats)


def _seat(one: Contestant, work: Work, rows: int, files: Files) -> Seat:
    """Return a contestant's seat, with a second task where given masks make results comparable."""
    reason = one.unable(rows)
    if reason:
        return Seat(one.name, None, reason)

    seat = Seat(one.name, files.task(work.name, one, rows))
    if work.name == works.WAVEGLOW:
        return seat
    if one.files == EXPORTER:
        seat.off = {"reason": DRAWS_ITSELF}
    else:
        seat.checked = files.task(work.name, one, rows, given=True)
    return seat


def _group(
    work: Work, rows: int, seats: Sequence[Seat], files: Files, setup: Setup
) -> dict[str, Any]:
    return {
        "work": work.name,
        "label": works.label(work.name, setup),
        "rows": rows,
        "unit": work.unit,
        "items": works.items(work.name, setup, rows),
        "base": BASE,
        "block": work.block,
        "warm": work.warm,
        "counts": limits.counted(work.name, setup, rows, files.models(BASE)),
        "contestants": [one.as_dict() for one in seats],
    }


def keep(kept: Mapping[str, Any], out: Path) -> None:
    """Write the table, and the raw seconds as JSON beside it; each whole or not at all."""
    texts = {
        out: "\n".join(table.document(kept)) + "\n",
        out.with_suffix(".json"): json.dumps(kept, indent=1) + "\n",
    }
    for path, content in texts.items():
        part = path.with_name(f"{path.name}.part")
        part.write_text(content, encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105 - the atomic replacement, by its name


def again(paths: Sequence[Path], *, brief: bool) -> Iterator[str]:
    """Yield the lines of the documents of runs that were kept, or of one brief table of them all.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no run.
    """
    runs = [_read(path) for path in paths]
    if brief:
        yield from summary.lines(runs)
        return
    for run_ in runs:
        yield from table.document(run_)


def _read(path: Path) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    if kept.get("schema", {}).get("name") != SCHEMA["name"]:
        raise ValueError(f"{path}: not the raw seconds of a run side by side")
    return kept


def main(asked: Asked, only: Sequence[str] | None, folder: Path, *, fresh: bool) -> None:
    """Measure the limits if need be (`fresh`: anyway), run everybody, print the document.

    Raises:
        ValueError: a name is nobody's.
    """
    found = contestants.chosen(contestants.everybody(), only)
    kept = run(asked, found, folder, limits.record(fresh=fresh))
    if asked.out:
        keep(kept, asked.out)
    print("\n".join(table.document(kept)))
