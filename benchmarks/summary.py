"""The table of what ran side by side in brief: a row for each contestant, a column for each batch.

A cell holds the median milliseconds of a run, how many times faster that is than the base with its
95 % interval, the share of the limit, and how far the results are off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import table
from benchmarks.works import WORKS
from harness.units import significant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


DID_NOT = "did not run"


def lines(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of one table over runs that were kept, each judged by its own limits."""
    for name in WORKS:
        groups = [
            (group, run["limits"])
            for run in runs
            for group in run["groups"]
            if group["work"] == name
        ]
        if groups:
            yield from _work(groups)
            yield ""


def _work(groups: Sequence[tuple[table.Group, Mapping[str, Any]]]) -> Iterator[str]:
    label, base = groups[0][0]["label"], groups[0][0]["base"]
    yield f"**{label}**: milliseconds, times as fast as {base} (95 %), share of its limit, off by"
    yield ""
    titles = ["what", "computes in", *(f"batch {group['rows']}" for group, _ in groups)]
    yield from table.markdown(titles, _rows(groups))


def _rows(groups: Sequence[tuple[table.Group, Mapping[str, Any]]]) -> Iterator[list[str]]:
    found = [{row.what: row for row in table.rows(*one)} for one in groups]
    for what in dict.fromkeys(name for rows in found for name in rows):
        computes = next(filter(None, (_computes(group, what) for group, _ in groups)), table.NONE)
        yield [what, computes, *(_cell(rows.get(what)) for rows in found)]


def _computes(group: table.Group, what: str) -> str:
    seats = [one for one in group["contestants"] if one["name"] == what]
    types = {kind for one in seats for kind in _types(one)}
    return ", ".join(sorted(types))


def _types(seat: Mapping[str, Any]) -> Iterator[str]:
    for stage in seat["effective"].values():
        yield from str(stage["compute"]).split("+")


def _cell(row: table.Row | None) -> str:
    if row is None:
        return table.NONE
    if row.median_s is None:
        return DID_NOT
    facts = [significant(1e3 * row.median_s), f"x {table.times(row.faster)}"]
    if row.turns is not None:
        facts += [f"{row.share:.0%}" if row.share else "no limit known", row.off]
    return "; ".join(facts)
