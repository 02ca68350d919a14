"""What this machine allows at most for a piece of work: the harness's own bounds, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import works
from harness.commands.console import Console
from harness.judging import roofline as bounds
from harness.machine import device_limits, environment, host
from harness.models import work
from harness.models.work import Counts
from harness.studies import machine_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.works import Setup


RECENT = timedelta(hours=1)
"""A stored record younger than this is used."""


@dataclass(frozen=True)
class Limit:
    """The least seconds of all stages of a piece of work, and what takes them in each."""

    seconds: float
    limits: Mapping[str, str]
    """By stage: `memory` or `arithmetic`."""

    def describe(self) -> str:
        """Return what limits it, by stage where they differ."""
        stages: dict[str, list[str]] = {}
        for stage, limit in self.limits.items():
            stages.setdefault(limit, []).append(stage)
        if len(stages) == 1:
            return next(iter(stages))
        return "; ".join(f"{', '.join(names)}: {limit}" for limit, names in stages.items())


def record(*, fresh: bool = False) -> dict[str, Any]:
    """Return this machine's limits, and `which` record they are from.

    Args:
        fresh: measure them, whatever is stored.

    Raises:
        WorkerError: they are measured, and reading does not run here.
    """
    found = host.stored(host.ROOFLINE)
    if found and not fresh and _recent(found[-1]):
        which = f"stored {found[-1]['started']} by python -m harness roofline"
        return {**device_limits.measured(found[-1]), "which": which}
    folder = host.new_folder(host.ROOFLINE)
    facts = machine_limits.run(machine_limits.FORMS["short"], folder, Console(), lambda: False)
    host.keep(facts, folder, raw=False)
    return {
        **device_limits.measured(facts),
        "which": f"measured at the start of this run ({facts['started']})",
    }


def _recent(facts: Mapping[str, Any]) -> bool:
    age = datetime.now(UTC) - datetime.fromisoformat(facts["started"])
    return age < RECENT and facts["kernel"] == environment.kernel()


def counted(
    name: str, setup: Setup, rows: int, models: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the work of every stage of a piece of work, counted in the contract's files.

    Raises:
        CountError: a file cannot be counted.
    """
    sizes = {
        "batch": rows,
        "text": setup.text,
        "frames": setup.frames if name == works.WAVEGLOW else setup.steps,
    }
    made = {}
    for stage in works.pipeline(name, setup, given=False).stages:
        model = models[stage.name]
        found = work.count(Path(model["path"]), stage, sizes, str(model["sha256"]))
        made[stage.name] = {**found.as_dict(), "steps": setup.steps if stage.loop else 0}
    return made


def limit(
    counted: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, Any],
    effective: Mapping[str, Mapping[str, Any]],
) -> Limit | None:
    """Return the limit of a piece of work; None where the precision of a stage is not known.

    Args:
        counted: as `counted` returned it.
        limits: of the machine.
        effective: the precision of every stage.
    """
    seconds, stages = 0.0, {}
    for stage, one in counted.items():
        found = bounds.bound(Counts.of(one), one["steps"], limits, effective.get(stage, {}))
        if found is None:
            return None
        seconds += found.seconds
        stages[stage] = found.limit
    return Limit(seconds, stages)


def by_precision(
    counted: Mapping[str, Mapping[str, Any]], limits: Mapping[str, Any]
) -> Iterator[tuple[str, Limit]]:
    """Yield the limit in every precision whose products were measured, the widest first."""
    known = [one for one in limits["operations_s"] if one in bounds.WIDTHS]
    for precision in sorted(known, key=lambda one: -bounds.WIDTHS[one]):
        everywhere = dict.fromkeys(("compute", "storage", "activations"), precision)
        found = limit(counted, limits, dict.fromkeys(counted, everywhere))
        if found is not None:
            yield precision, found
