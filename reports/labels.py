"""Short names for points: what tells them apart, and nothing they share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reports.trials import PointView

FOLLOWS = frozenset({"models", "backend.options.threads"})
"""Facts that only follow from another choice, such as the hashes of the model files."""
LONGEST = 48
_ORDER = ("backend", "quant", "bs", "il", "waveglow", "devices", "model", "seed")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration with dotted keys; `backend.name` is called `backend`."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if path in FOLLOWS:
            continue
        if isinstance(value, dict):
            flat |= flatten(value, f"{path}.")
        else:
            flat["backend" if path == "backend.name" else path] = value
    return flat


def varying(points: Sequence[PointView]) -> list[str]:
    """Return the keys in which the points differ, the most telling first."""
    flats = [flatten(point.config) for point in points]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    differing = [key for key in keys if len({repr(flat[key]) for flat in flats if key in flat}) > 1]
    rank = {key: place for place, key in enumerate(_ORDER)}
    return sorted(differing, key=lambda key: (rank.get(key, len(rank)), key))


def describe(key: str, value: Any) -> str:
    """Return one choice in words, such as `batch 4`."""
    plain = {"backend": str(value), "quant": str(value).removeprefix("force_")}
    if key in plain:
        return plain[key]
    if key == "waveglow":
        return "with WaveGlow" if value else "Tacotron 2 only"
    if isinstance(value, list | tuple):
        value = "+".join(map(str, value))
    named = {"bs": "batch", "il": "length", "devices": "device", "model": "model", "seed": "seed"}
    return f"{named.get(key, key.rpartition('.')[2].replace('_', ' '))} {value}"


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return the text with its middle left out when it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return f"{text[:head]}…{text[-(longest - 1 - head) :]}"


def _plain_labels(points: Sequence[PointView]) -> Iterator[str]:
    keys = varying(points)
    for point in points:
        flat = flatten(point.config)
        parts = [describe(key, flat[key]) for key in keys if key in flat]
        yield shorten(" · ".join(parts) or point.name)


def short_labels(points: Sequence[PointView]) -> dict[str, str]:
    """Return a short label for each point id; two points never share one."""
    labels = list(_plain_labels(points))
    counts = Counter(labels)
    return {
        point.id: label if counts[label] == 1 else f"{label} ({point.id[:6]})"
        for point, label in zip(points, labels, strict=True)
    }


def family(point: PointView, *without: str) -> tuple[tuple[str, str], ...]:
    """Return a point's choices except the named ones: equal for points of one curve."""
    flat = flatten(point.config)
    return tuple(sorted((key, repr(value)) for key, value in flat.items() if key not in without))
