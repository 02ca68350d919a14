"""Point: one combination of everything that can change a result, its name and its stable id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.names import file_name
from harness.results import point_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.config import Config

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
    return "-".join(part.replace("/", "_") for part in parts)


@dataclass(frozen=True)
class Point:
    """One complete configuration.

    `facts` holds what decides the result, and nothing about how long or how often it is measured,
    so that the same point is found again under another profile.
    """

    name: str
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical facts."""
        return point_id(self.facts)

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
