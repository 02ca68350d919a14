"""A metric of a point over any number of sweeps: one query over their files, no index, no server.

Every call reads `summary.csv` and `sweep.json` of the folders again, so nothing has to be kept in
step and nothing can be out of date.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.analysis.metrics import METRICS, RESPONSE
from harness.analysis.series import WHOLE
from harness.analysis.verdicts import MINIMUM_EFFECT, OCCASION_SD
from harness.errors import UsageError
from harness.judging.summary import COLUMNS
from harness.naming import distinct
from harness.records import sweep_folder
from harness.units import possible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray


INTERVALS = {
    "mean": ("mean_lo_s", "mean_hi_s"),
    "items_per_s": ("items_per_s_lo", "items_per_s_hi"),
}
LEAST_SEGMENT = 3
"""Occasions of one level: fewer are outliers, not a level."""
PENALTY = 6.0
"""Of a change point, in units of ln n and of squared deviations."""
SUCCESSIVE = 0.6745 * math.sqrt(2)
"""Median absolute difference of neighbours to standard deviation, for normal values."""
QUERY = """
WITH figures AS (
    SELECT *, parse_dirpath(filename) AS folder
    FROM read_csv($tables, filename = true, union_by_name = true, all_varchar = true)
), sweeps AS (
    SELECT parse_dirpath(filename) AS folder,
           provenance ->> '$.git.commit' AS commit_id,
           coalesce(
               coalesce(conditions ->> '$.machine.model', 'machine') || ' '
                   || (conditions ->> '$.machine.key'),
               conditions ->> '$.host', 'unknown'
           ) AS host,
           conditions ->> '$.machine.key' IS NOT NULL AS signed
    FROM read_json($plans, filename = true, format = 'unstructured',
                   columns = {provenance: 'JSON', conditions: 'JSON'})
)
SELECT point_id, point, host, signed, commit_id, folder, weights, subject,
       strptime(trial_id[:15], '%Y%m%dT%H%M%S') AS moment,
       TRY_CAST("{column}" AS DOUBLE) AS value,
       {low} AS low, {high} AS high
FROM figures JOIN sweeps USING (folder)
WHERE list_contains($subjects, subject) AND status = 'ok'
  AND (point_id = $point OR contains(point, $point))
ORDER BY point, point_id, moment, trial_id
"""


@dataclass(frozen=True)
class Occasion:
    """One trial of a point."""

    at: str
    """UTC, to the second."""
    value: float
    low: float | None
    high: float | None
    host: str
    """The machine by model and signature; by its host's name in sweeps from before signatures."""
    commit: str | None
    sweep: str
    weights: str
    signed: bool = True
    """The signature of the machine is known."""
    change: float | None = None
    """At the first occasion of a new level: its relative difference to the level before."""


@dataclass(frozen=True)
class Trend:
    """The occasions of one point, oldest first."""

    point_id: str
    name: str
    metric: str
    unit: str
    better: str
    occasions: Sequence[Occasion]


def column_of(metric: str) -> tuple[str, str]:
    """Return the subject and the column of summary.csv that a metric such as `latency.p99` names.

    Raises:
        UsageError: there is no such metric.
    """
    subject, _, statistic = metric.rpartition(".")
    for column in (f"{statistic}_s", statistic):
        if subject and column in COLUMNS and statistic in {one.id for one in METRICS}:
            return subject, column
    known = [one.id for one in METRICS if {one.id, f"{one.id}_s"} & set(COLUMNS)]
    raise UsageError(
        f"history: metric={metric}: write SUBJECT.STATISTIC, such as latency.mean or decoder.p99; "
        f"statistics: {', '.join(known)}"
    )


def trends(places: Sequence[Path], *, metric: str = "", point: str = "") -> list[Trend]:
    """Return the trend of every point, from the folders of sweeps below `places`.

    Args:
        places: sweeps' folders, or folders that hold such.
        metric: as a summary's keys name it; empty: the mean response of points whose requests came
            by a server's schedule, the mean latency of the others.
        point: a point's id, or a part of its name; empty for all.

    Raises:
        UsageError: no sweep is there, the metric is unknown, or duckdb is not installed.
    """
    subject, column = column_of(metric or f"{WHOLE}.mean")
    statistic = (metric or "mean").rpartition(".")[2]
    found = [folder for place in places for folder in _sweeps(place)]
    tables = [folder / "summary.csv" for folder in found if (folder / "summary.csv").is_file()]
    if not tables:
        raise UsageError(f"history: no sweep with results in {', '.join(map(str, places))}")
    low, high = (f'TRY_CAST("{one}" AS DOUBLE)' for one in INTERVALS.get(statistic, ("", "")))
    if statistic not in INTERVALS:
        low = high = "CAST(NULL AS DOUBLE)"
    query = QUERY.replace("{column}", column).replace("{low}", low).replace("{high}", high)
    rows = _duckdb(
        query,
        tables=[str(one) for one in tables],
        plans=[str(one.parent / sweep_folder.SWEEP_FILE) for one in tables],
        subjects=[subject, RESPONSE],
        point=point,
    )
    described = next(one for one in METRICS if one.id == statistic)
    grouped: dict[str, list[_FigureRow]] = {}
    for one in rows:
        grouped.setdefault(one[0], []).append(_FigureRow(*one))
    chosen = {
        point_id: (_shown(figures, subject, free=not metric), figures[-1].name)
        for point_id, figures in grouped.items()
    }
    known = {key: one for key, one in chosen.items() if one[0]}
    names = distinct([name for _, name in known.values()], list(known), "{} {}".format)
    return [
        Trend(
            point_id,
            name,
            _metric(figures[0].subject, statistic, grouped[point_id]),
            described.unit,
            described.better,
            _changes([one.occasion for one in figures]),
        )
        for name, (point_id, (figures, _)) in zip(names, known.items(), strict=True)
    ]


class _FigureRow(NamedTuple):
    """One row of the query."""

    point_id: str
    name: str
    host: str
    signed: bool
    commit: str | None
    sweep: str
    weights: str
    subject: str
    moment: datetime
    value: float | None
    low: float | None
    high: float | None

    @property
    def occasion(self) -> Occasion:
        at, value = self.moment.strftime("%Y-%m-%dT%H:%M:%SZ"), self.value or 0.0
        return Occasion(
            at,
            value,
            *possible(value, self.low, self.high),
            host=self.host,
            signed=self.signed,
            commit=self.commit,
            sweep=self.sweep,
            weights=self.weights,
        )


def _shown(figures: Sequence[_FigureRow], subject: str, *, free: bool) -> list[_FigureRow]:
    """Return the figures of one point to show: of the response where nobody named a subject."""
    by_schedule = any(one.subject == RESPONSE for one in figures)
    wanted = RESPONSE if free and by_schedule else subject
    return [one for one in figures if one.subject == wanted and one.value is not None]


def _metric(subject: str, statistic: str, figures: Sequence[_FigureRow]) -> str:
    """Return the metric's name, and what it is of where a response stands beside it."""
    by_schedule = any(one.subject == RESPONSE for one in figures)
    said = " (service time)" if subject == WHOLE and by_schedule else ""
    return f"{subject}.{statistic}{said}"


def _sweeps(place: Path) -> Iterator[Path]:
    if sweep_folder.facts(place):
        yield place
    else:
        for path in sorted(place.rglob(sweep_folder.SWEEP_FILE)):
            if sweep_folder.facts(path.parent):
                yield path.parent


def _duckdb(query: str, **arguments: object) -> list[tuple[Any, ...]]:
    try:
        import duckdb  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError("history needs duckdb: pip install 'tts-harness[history]'") from error
    with duckdb.connect() as connection:
        return connection.execute(query, arguments).fetchall()


def _changes(occasions: Sequence[Occasion]) -> list[Occasion]:
    """Mark where a new level begins, for each host by itself: hosts are not comparable."""
    marked = list(occasions)
    for host in dict.fromkeys(one.host for one in occasions):
        places = [place for place, one in enumerate(occasions) if one.host == host]
        values = np.array([occasions[place].value for place in places])
        for start, change in change_points(values):
            marked[places[start]] = replace(marked[places[start]], change=change)
    return marked


def change_points(values: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Return where levels of a series begin anew, each with its relative difference.

    PELT with squared error on the logarithm, in units of the spread between neighbours but at least
    the spread two occasions are assumed to have; differences below the minimum effect are not
    changes (measurement method, section 8).
    """
    n = len(values)
    if n < 2 * LEAST_SEGMENT or not (values > 0).all():
        return []
    import ruptures  # noqa: PLC0415 - slow to import

    logs = np.log(values)
    scale = max(float(np.median(np.abs(np.diff(logs)))) / SUCCESSIVE, OCCASION_SD)
    search = ruptures.KernelCPD(kernel="linear", min_size=LEAST_SEGMENT)
    ends = search.fit(logs / scale).predict(pen=PENALTY * math.log(n))
    starts = [0, *ends[:-1]]
    means = [float(logs[start:end].mean()) for start, end in zip(starts, ends, strict=True)]
    differences = [math.expm1(new - old) for old, new in pairwise(means)]
    return [
        (start, difference)
        for start, difference in zip(starts[1:], differences, strict=True)
        if abs(difference) >= MINIMUM_EFFECT
    ]
