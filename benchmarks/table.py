"""The table of what ran side by side, made from the raw seconds that are kept."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import reports
from benchmarks import limits as allowed
from benchmarks import machine, works
from benchmarks.ratios import interval
from harness.records.precision import precision_text
from harness.units import significant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Group = Mapping[str, Any]
    """One piece of work at one batch size, with everybody's seconds."""


NONE = "–"
COLUMNS = (
    "work", "batch", "what", "runs as", "median ms", "best ms", "items/s",
    "times faster than {base} (95 %)", "times less CPU (95 %)", "share of its limit", "off by",
    "turns",
)  # fmt: skip
BLOCKS = (
    "A turn of the decoder step is {block} steps in a row after {warm} that do not count, as a "
    "decoder runs them. "
)
LEGEND = (
    "Every contestant runs in a process of its own; one turn runs each once, in rotated order, and "
    "ratios are taken within a turn: median over turns, distribution-free 95 % interval. {blocks}"
    "`runs as` is read back from the runtime. The limit is the later of moving weights, "
    "inputs and outputs and of doing the products, at the most this machine was measured to do "
    "({which}). `off by`, for the same inputs, dropout masks and noise, from the contract's files "
    "in float32 on onnxruntime: of a step the relative RMS difference of the output where it is "
    "largest, of the others the mel distance and the log-spectral distance of the accuracy gate."
)

BEYOND = (
    "A share above 100 %: the limit was measured too low, as beside busy neighbours it is. Measure "
    "it on a quiet machine (`python -m harness roofline`), then again."
)


@dataclass(frozen=True)
class Row:
    """One line of the table; seconds of one run, None where there is none."""

    what: str
    runs_as: str
    median_s: float | None = None
    best_s: float | None = None
    faster: tuple[float, float, float] | None = None
    """Seconds of the base over this one's: median over turns and its interval."""
    less_cpu: tuple[float, float, float] | None = None
    """The same of processor seconds, of all threads."""
    share: float | None = None
    """Of its limit: 1 is all that is possible."""
    off: str = NONE
    turns: int | None = None

    def cells(self, group: Group) -> list[str]:
        """Return the cells of the row."""
        rate = None if self.median_s is None else group["items"] / self.median_s
        return [
            str(group["label"]), str(group["rows"]), self.what, self.runs_as,
            _milliseconds(self.median_s), _milliseconds(self.best_s), _rate(rate),
            times(self.faster), times(self.less_cpu),
            NONE if self.share is None else f"{self.share:.0%}", self.off,
            NONE if self.turns is None else str(self.turns),
        ]  # fmt: skip


def _milliseconds(seconds: float | None) -> str:
    return NONE if seconds is None else significant(1e3 * seconds)


def _rate(rate: float | None) -> str:
    return NONE if rate is None else significant(rate)


def times(found: tuple[float, float, float] | None) -> str:
    """Return a ratio with its interval as a cell shows it."""
    if found is None:
        return NONE
    value, low, high = found
    if low == high:  # a limit is computed, and the base is one time itself
        return f"{value:.2f}" if value != 1.0 else "1"
    if math.isnan(low) or math.isnan(high):
        return f"{value:.2f} (too few turns)"
    return f"{value:.2f} ({low:.2f} – {high:.2f})"


def _off(found: Mapping[str, Any]) -> str:
    if not found:
        return "not compared"
    if found.get("value") is None:
        return str(found.get("reason") or "nothing to compare")
    return f"{found['value']:.2g} {found['unit']}".strip()


# --- rows ------------------------------------------------------------------------------------


def rows(group: Group, limits: Mapping[str, Any] | None) -> Iterator[Row]:
    """Yield the rows of one piece of work at one batch size, the limits last.

    Args:
        group: as `benchmarks.sidebyside` keeps it.
        limits: of the machine; None: not known.
    """
    seats = group["contestants"]
    base = next((one for one in seats if one["name"] == group["base"] and _ran(one)), None)
    for seat in seats:
        yield _row(group, seat, base, limits)
    if limits is None:
        return
    for precision, found in allowed.by_precision(group["counts"], limits):
        against = None if base is None else float(np.median(base["wall_s"])) / found.seconds
        faster = None if against is None else (against, against, against)
        yield Row(
            f"limit, {precision}", f"limited by {found.describe()}", found.seconds, found.seconds,
            faster=faster, share=1.0,
        )  # fmt: skip


def _ran(seat: Mapping[str, Any]) -> bool:
    return seat["reason"] is None and bool(seat["wall_s"])


def _row(
    group: Group,
    seat: Mapping[str, Any],
    base: Mapping[str, Any] | None,
    limits: Mapping[str, Any] | None,
) -> Row:
    if not _ran(seat):
        return Row(seat["name"], f"did not run: {seat['reason'] or 'no turn was finished'}")
    wall = np.array(seat["wall_s"])
    median = float(np.median(wall))
    least = limits and allowed.limit(group["counts"], limits, seat["effective"])
    return Row(
        what=seat["name"],
        runs_as=precision_text(
            {
                "settings": {"effective": seat["effective"]},
                "stages": [{"name": name} for name in seat["effective"]],
            }
        ),
        median_s=median,
        best_s=float(wall.min()),
        faster=_ratio(base, seat, "wall_s"),
        less_cpu=_ratio(base, seat, "cpu_s"),
        share=least.seconds / median if least else None,
        off=_off(seat["off"]),
        turns=len(wall),
    )


def _ratio(
    base: Mapping[str, Any] | None, seat: Mapping[str, Any], seconds: str
) -> tuple[float, float, float] | None:
    """Return how often a seat's seconds go into the base's of the same turn."""
    if base is None:
        return None
    if seat is base:
        return 1.0, 1.0, 1.0
    return interval(np.sort(np.array(base[seconds]) / np.array(seat[seconds])))


def lines(groups: Sequence[Group], limits: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the lines of one table over several pieces of work that share their base."""
    titles = [one.format(base=groups[0]["base"]) for one in COLUMNS]
    yield from markdown(titles, (row.cells(g) for g in groups for row in rows(g, limits)))


def markdown(titles: Sequence[str], body: Iterator[list[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)
    for cells in body:
        yield f"| {' | '.join(one.replace('|', '/') for one in cells)} |"


# --- the document ----------------------------------------------------------------------------


def document(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the whole Markdown document of a run that was kept."""
    groups, limits = run["groups"], run["limits"]
    runtimes = dict.fromkeys(
        one["runtime"] for group in groups for one in group["contestants"] if one["runtime"]
    )
    yield machine.header(run["machine"], run["states"], list(runtimes))
    yield ""
    steps = [BLOCKS.format(**one) for one in groups if one["work"] == works.STEP]
    yield LEGEND.format(blocks="".join(steps[:1]), which=limits["which"])
    yield ""
    if groups:
        yield from lines(groups, limits)
    if any((row.share or 0.0) > 1.0 for group in groups for row in rows(group, limits)):
        yield ""
        yield BEYOND
    for reason in _unsure(groups):
        yield ""
        yield f"Not verified: {reason}."
    yield from absent([(one["name"], one["reason"]) for one in run["absent"]])
    yield from published(run)


def absent(reasons: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a table of what cannot run here, and why; nothing where all can."""
    if reasons:
        yield ""
        yield from markdown(["cannot run here", "why"], map(list, reasons))


def _unsure(groups: Sequence[Group]) -> Iterator[str]:
    """Yield each reason once why a precision could not be verified."""
    stages = (
        stage
        for group in groups
        for seat in group["contestants"]
        for stage in seat["effective"].values()
    )
    yield from dict.fromkeys(str(one.get("reason")) for one in stages if not one.get("verified"))


def published(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield the published figures of an accelerator beside ours of the whole Tacotron 2."""
    known = json.loads((Path(reports.__file__).parent / "data/mlu370_s4.json").read_text())
    groups = [one for one in run["groups"] if one["work"] == works.TACOTRON2]
    if run["setup"]["model"] != "full" or run["setup"]["text"] != known["il"] or not groups:
        return
    yield ""
    yield f"{known['title']} as published ({known['source']}), beside the whole Tacotron 2 here:"
    yield ""
    titles = ["batch", "what", "runs as", "mel frames/s", "of the published rows"]
    yield from markdown(titles, _beside(groups, known["rows"], run["limits"]))


def _beside(
    groups: Sequence[Group], known: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]
) -> Iterator[list[str]]:
    for group in groups:
        of_batch = [one for one in known if one["bs"] == group["rows"]]
        for one in of_batch:
            ran = f"{one['precision']}, asked for {one['quant']}"
            rate = _rate(one["mel_frames_per_s"])
            yield [str(group["rows"]), str(one["device"]), ran, rate, "1"]
        for row in rows(group, limits):
            if row.median_s is None:
                yield [str(group["rows"]), row.what, row.runs_as, NONE, NONE]
                continue
            rate = group["items"] / row.median_s
            shares = [f"{rate / one['mel_frames_per_s']:.3f}" for one in of_batch]
            of_them = ", ".join(dict.fromkeys(shares)) or "none at this batch"
            yield [str(group["rows"]), row.what, row.runs_as, _rate(rate), of_them]
