"""Point: one combination of everything that can change a result, its name and its stable id."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.config.scenario import Kind
from harness.naming import ASKED, LONGEST_FILE, called, file_safe, flat
from harness.plain_text import file_name
from harness.records.identity import point_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.config.schema import Config


SYNC = "stage"
DEFAULT_SEED = 1234


def backend_options(config: Config) -> dict[str, Any]:
    """Return the backend's own options that were set; what is null is the backend's default."""
    reserved = ("name", "python")
    return {
        key: value
        for key, value in config.backend.items()
        if key not in reserved and value is not None
    }


def name_of(config: Config) -> str:
    """Return a short name for people, made of what was chosen."""
    parts = [
        str(config.backend["name"]),
        config.quant.value,
        f"bs{config.bs}",
        f"il{config.il}",
    ]
    if config.scenario.name():
        parts.append(config.scenario.name())
    if config.waveglow:
        parts.append("waveglow")
    if config.model.name != "full":
        parts.append(config.model.name)
    if config.dropout is not None:
        parts.append(config.dropout.value)
    if config.sigma is not None:
        parts.append(f"sigma{config.sigma:g}")
    if config.seed != DEFAULT_SEED:
        parts.append(f"seed{config.seed}")
    if config.devices != ["0"]:
        parts.append("devices" + "+".join(config.devices))
    parts += [f"{key}{value}" for key, value in sorted(backend_options(config).items())]
    return file_safe("-".join(parts))


IN_MODELS = frozenset({"models_dir", "dropout"})
"""Keys a point's facts hold as the hashes of its model files."""


def beside_facts(config: Config) -> dict[str, Any]:
    """Return, by the keys as they are typed, what a point's facts do not hold in these words.

    What concerns the whole command, such as where it writes, is no part of a point.
    """
    measure = asdict(config.measure)
    accuracy = asdict(config.accuracy)
    server = config.scenario.kind is Kind.server
    return {
        "models_dir": config.models_dir,
        "dropout": None if config.dropout is None else config.dropout.value,
        "backend.python": config.backend.get("python"),
        "scenario.seconds": config.scenario.seconds if server else None,
        "wav": config.wav,
        "measure": measure.pop("profile").value,
        **dict(flat("measure", measure)),
        # By the names of conf/accuracy: where one point is not checked, its limits tell nothing.
        "accuracy": "standard" if accuracy.pop("check") else "off",
        **dict(flat("accuracy", accuracy)),
    }


@dataclass(frozen=True)
class Point:
    """One complete configuration.

    `facts` holds what decides the result, and nothing about how long or how often it is measured,
    so that the same point is found again under another profile. Only where a sweep asks for a point
    twice, measured in two ways, do its facts hold that under `asked`.
    """

    name: str
    facts: Mapping[str, Any] = field(repr=False)
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Keys in which the points of the sweep differ and that `facts` does not hold as typed."""

    @property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical facts."""
        return point_id(self.facts)

    @property
    def record(self) -> dict[str, Any]:
        """What result files hold of it."""
        asked = {ASKED: dict(self.asked)} if self.asked else {}
        return {"id": self.id, "name": self.name, "config": dict(self.facts), **asked}

    @property
    def folder(self) -> str:
        """The name of its folder: readable, and unique by the id.

        Raises:
            UsageError: the name is too long for a folder, or cannot be one.
        """
        return file_name(f"{self.name}-{self.id}", "point")


def make_point(
    config: Config, *, pipeline: str, options: Mapping[str, Any], models: Mapping[str, str]
) -> Point:
    """Return the point of a configuration.

    Args:
        config: the checked configuration.
        pipeline: the pipeline's name.
        options: the backend's effective options, defaults filled in.
        models: SHA-256 of the model file of each stage that runs.
    """
    return Point(
        name=name_of(config),
        facts={
            "pipeline": pipeline,
            "backend": {"name": config.backend["name"], "options": dict(options)},
            "quant": config.quant.value,
            "bs": config.bs,
            "il": config.il,
            "waveglow": config.waveglow,
            "devices": list(config.devices),
            "model": config.model.name if config.models_dir is None else None,
            "seed": config.seed,
            "scenario": config.scenario.fact(),
            "sync": options.get("sync", SYNC),
            "models": dict(models),
            # Named only where it was chosen, so that ids of points without it stay what they were.
            **({} if config.sigma is None else {"sigma": config.sigma}),
        },
    )


@dataclass(frozen=True)
class Wanted:
    """A point as one configuration of a command asks for it, and what its facts leave out."""

    point: Point
    beside: Mapping[str, Any] = field(repr=False)
    """What `beside_facts` says of the configuration."""


def told_apart(wanted: Sequence[Wanted]) -> list[Point]:
    """Return the points, each with what tells it from the others of its command.

    Points of one id that are to be measured in different ways become different points. Names are
    unique but for a point that is asked for twice in the same words.
    """
    keys = _differing(wanted)
    points = [replace(one.point, asked={key: one.beside[key] for key in keys}) for one in wanted]
    for places in _places(one.id for one in points).values():
        own = [key for key in _differing([wanted[at] for at in places]) if key not in IN_MODELS]
        for at in places if own else ():
            asked = {key: wanted[at].beside[key] for key in own}
            points[at] = replace(points[at], facts={**points[at].facts, ASKED: asked})
    unique: dict[str, Point] = {}
    for point in points:
        unique.setdefault(point.id, point)
    records = [point.record for point in unique.values()]
    names = dict(zip(unique, called(records, longest=LONGEST_FILE), strict=True))
    return [replace(unique[point.id], name=names[point.id]) for point in points]


def _differing(wanted: Sequence[Wanted]) -> list[str]:
    return [key for key in wanted[0].beside if len({repr(one.beside[key]) for one in wanted}) > 1]


def _places(ids: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, one in enumerate(ids):
        found.setdefault(one, []).append(place)
    return found


def as_stored(
    point: Point, beside: Mapping[str, Any], records: Iterable[Mapping[str, Any]]
) -> Point:
    """Return a point that was planned alone as the sweep it belongs to has planned it.

    Args:
        point: as one configuration gives it.
        beside: what `beside_facts` says of that configuration.
        records: the points of the sweep, as its `sweep.json` holds them.

    Returns:
        The sweep's point of the same facts, asked for in the same way; the point itself where
        there is none.
    """
    for one in records:
        facts, asked = one["config"], one.get(ASKED, {})
        if without_asked(facts) == point.facts and asked == {key: beside[key] for key in asked}:
            return Point(file_safe(one["name"]), facts, asked)
    return point


def without_asked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point's facts less the ways of measuring that told it from its like in a sweep."""
    return {key: value for key, value in facts.items() if key != ASKED}
