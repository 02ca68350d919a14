"""Baselines: sweeps kept under a name, and points measured again beside a candidate."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.choices import Allow, Quant
from harness.config.schema import Model
from harness.errors import UsageError
from harness.plain_text import quoted
from harness.planning import asked, trust
from harness.planning.asked import MODELS_DIR, PYTHON, Ask
from harness.planning.point import without_asked
from harness.records import identity, result_file
from harness.records.baselines import resolve
from harness.records.identity import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.config.schema import Config
    from harness.planning.planner import PlannedPoint, Planner


WORKLOAD = ("pipeline", "bs", "il", "waveglow")
"""What a candidate and its baseline must share; everything else may be under test."""


# --- side by side ----------------------------------------------------------------------------


@dataclass(frozen=True)
class PlannedBaseline:
    """What is measured beside the candidates, and for which of them."""

    points: Sequence[PlannedPoint]
    pairs: Mapping[str, str]
    """From the id of a candidate to that of its baseline."""


def beside(candidates: Sequence[PlannedPoint], planner: Planner) -> PlannedBaseline:
    """Plan the baseline's points again, each with its null control, for the same blocks.

    Raises:
        UsageError: a candidate has no baseline or several, one cannot be measured here as it
            was, or it asks for what is not taken from a file.
    """
    config = candidates[0].config
    if config.baseline is None:
        return PlannedBaseline((), {})
    folder = resolve(config.baseline, "baseline=")
    documents = _documents(config.baseline, folder)
    planned: dict[str, PlannedPoint] = {}
    pairs = {}
    for candidate in candidates:
        document = partner(candidate.point.facts, documents)
        key = document["point"]["id"]
        if key not in planned:
            stored = config_of(document, candidate.config)
            trust.refuse_unknown(
                f"baseline={quoted(config.baseline)}",
                folder,
                list(_asks(stored, candidate.config)),
                config.allow,
            )
            planned[key] = _again(document, stored, planner)
        pairs[candidate.point.id] = planned[key].point.id
    # Points that differed only in how they were measured are one here: measured as candidates are.
    unique = {one.point.id: one for one in planned.values()}
    sides = [Side.BASELINE, Side.CONTROL] if config.null_control else [Side.BASELINE]
    return PlannedBaseline(
        [replace(one, side=side) for one in unique.values() for side in sides], pairs
    )


def _documents(asked_for: str, folder: Path) -> Sequence[Mapping[str, Any]]:
    """Return the results of a baseline.

    Raises:
        UsageError: there is none that can be read.
    """
    found = result_file.load_sweep(folder) if folder.is_dir() else None
    if found is None or not found.trials:
        why = found.problems[0] if found and found.problems else "holds no result file"
        raise UsageError(f"baseline={asked_for}: {why}; name a sweep's folder")
    return found.trials


def _asks(stored: Config, like: Config) -> Iterator[Ask]:
    """Yield what a stored point asks for beyond measuring, and this command does not say too."""
    for one in asked.of_options(stored.backend):
        if one.key != PYTHON or one.value != like.backend.get("python"):
            yield one
    if stored.models_dir is not None and not _same_place(stored.models_dir, like.models_dir):
        yield Ask(MODELS_DIR, stored.models_dir, Allow.places)


def _same_place(one: str, other: str | None) -> bool:
    return other is not None and Path(one).absolute() == Path(other).resolve()


def partner(facts: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the result of the same workload that differs from a candidate in the fewest keys.

    Raises:
        UsageError: there is none, or two differ from it equally.
    """
    same = [
        one
        for one in documents
        if all(one["point"]["config"].get(key) == facts[key] for key in WORKLOAD)
    ]
    wanted = ", ".join(f"{key}={facts[key]}" for key in WORKLOAD[1:])
    if not same:
        raise UsageError(f"baseline: no point with {wanted}; measure one, or sweep what it has")
    apart = [len(identity.differing_keys("", one["point"]["config"], facts)) for one in same]
    nearest = [one for one, count in zip(same, apart, strict=True) if count == min(apart)]
    if len(nearest) > 1:
        listed = " and ".join(one["point"]["name"] for one in nearest[:2])
        raise UsageError(
            f"baseline: {listed} are equally near to the point with {wanted}; "
            "name a sweep that has one of them"
        )
    return nearest[0]


def _again(document: Mapping[str, Any], stored: Config, planner: Planner) -> PlannedPoint:
    """Return the plan of a stored point.

    Raises:
        UsageError: what would be measured is not what was.
    """
    (planned,) = planner.plan([stored])
    facts = without_asked(document["point"]["config"])
    if planned.point.id != identity.point_id(facts):
        keys = identity.differing_keys("", facts, planned.point.facts)
        raise UsageError(
            f"baseline {document['point']['name']} cannot be measured here as it was: it would "
            f"differ in {', '.join(keys)}; compare the two sweeps instead"
        )
    return planned


def config_of(document: Mapping[str, Any], like: Config) -> Config:
    """Return the configuration of a stored point, measured as `like` is.

    Raises:
        UsageError: the document does not describe a point.
    """
    facts = document["point"]["config"]
    try:
        models = [model for model in document["models"].values() if "path" in model]
        paths = [Path(model.get("source_path", model["path"])) for model in models]
        supplied = facts["model"] is None and paths
        made = replace(
            like,
            quant=Quant(facts["quant"]),
            bs=_whole(facts["bs"]),
            il=_whole(facts["il"]),
            waveglow=bool(facts["waveglow"]),
            backend=dict(document["settings"]["requested"]["options"]),
            model=like.model if facts["model"] is None else Model(_name(facts["model"])),
            devices=[_name(one) for one in facts["devices"]],
            models_dir=str(paths[0].parent) if supplied else None,
            seed=_whole(facts["seed"]),
            baseline=None,
        )
        _name(made.backend["name"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"baseline {quoted(document['point'].get('name'))}: its result file does not describe "
            f"a point ({type(error).__name__}: {error})"
        ) from error
    return made


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{quoted(value)} is no whole number")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.:+-]+", value, re.ASCII):
        raise TypeError(f"{quoted(value)} is no name")
    return value
