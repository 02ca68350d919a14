"""The data of points that have no section of their own: decimated, for the page's script to draw.

Never raw samples: quantiles, buckets and stage figures to five significant digits, about 3 kB a
point (report reference, section 5).
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.analysis.estimates import quantile
from harness.analysis.metrics import subject_words
from reports.figures.percentiles import steady, withheld
from reports.figures.series import buckets, label_counts, labelled, looks_like
from reports.figures.stages import parts_of
from reports.tables.facts import command_of, start_facts
from reports.text.plain import plain
from reports.text.precision import precision_text
from reports.views.iterations import latencies, warm_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reports.views.points import PointView, Record


MOST_BUCKETS = 90
MOST_SEVERE = 20
PLAIN_UP_TO = 4_000_000
"""Bytes; a larger island is compressed."""
_QUANTILES = tuple(1 - 0.8 * (0.01 / 0.8) ** (step / 30) for step in range(31))
_STATISTICS = ("mean", "p50", "p90", "p99", "cl50", "cl90", "cl95", "cl99", "cl100", "items_per_s")


@dataclass(frozen=True)
class Island:
    """The text of the data element; empty when every point has its own section."""

    text: str
    compressed: bool


def pack(points: Sequence[PointView], names: Mapping[str, str]) -> Island:
    """Return the island of the given points, compressed when it would be large.

    Args:
        points: those the script draws.
        names: what each is called on the page, by its id.
    """
    if not points:
        return Island("", compressed=False)
    data = {point.anchor: _point(point, names[point.id]) for point in points}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if len(text) > PLAIN_UP_TO:
        packed = gzip.compress(text.encode(), compresslevel=6, mtime=0)
        return Island(base64.b64encode(packed).decode("ascii"), compressed=True)
    return Island(_inert(text), compressed=False)


def _inert(text: str) -> str:
    """Escape what could end or open markup; JSON reads the escapes as the same text."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _all_short(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _point(point: PointView, name: str) -> dict[str, Any]:
    return {
        "name": plain(name),
        "state": plain(point.state),
        "reason": plain(point.reason or ""),
        "grade": point.grade or "",
        "first": subject_words(point.document, point.headline),
        "whole": subject_words(point.document, "latency"),
        "effective": precision_text(point.document),
        "command": (command := command_of(point)).text,
        "apart": list(command.apart),
        "file": plain(point.path or ""),
        "stages": [
            [
                subject_words(point.document, name),
                point.items_of(name),
                *(
                    [_short(r.estimate), _short(r.low), _short(r.high), r.reason or ""]
                    if (r := point.record(name, statistic))
                    else None
                    for statistic in _STATISTICS
                ),
                _n(point.record(name, "mean")),
                _n(point.counted_as_original(name)),
            ]
            for name in point.subjects
        ],
        "parts": [[name, _short(value)] for name, value in parts_of(point)],
        "start": [[fact.key, fact.value] for fact in start_facts(point)],
        "labels": label_counts(point.processes),
        "quantiles": _quantiles(point),
        "series": _series(point),
    }


def _n(record: Record | None) -> int:
    return record.n if record is not None else 0


def _quantiles(point: PointView) -> list[list[float]]:
    import numpy as np  # noqa: PLC0415 - `import reports` stays cheap

    samples = steady(point)
    if not samples or withheld(point):
        return []
    ordered = np.sort(np.concatenate(samples))
    return [_all_short(_QUANTILES), _all_short(quantile(ordered, p) for p in _QUANTILES)]


def _series(point: PointView) -> list[dict[str, Any]]:
    processes = point.processes
    found = []
    for process in processes:
        values = latencies(process)
        _, rows = buckets(values, max(2, MOST_BUCKETS // len(processes)))
        found.append(
            {
                "process": process.get("index"),
                "n": len(values),
                "warmup": warm_up(process),
                "least": _all_short(rows[:, 0].tolist()),
                "mean": _all_short(rows[:, 1].tolist()),
                "largest": _all_short(rows[:, 2].tolist()),
                "label": looks_like(process),
                "severe": [
                    [at, _short(float(values[at]))]
                    for at in labelled(process, "severe")[:MOST_SEVERE]
                ],
            }
        )
    return found
