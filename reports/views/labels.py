"""Short names for points: what tells them apart, and nothing they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from harness import naming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


LONGEST = 48


class Nameable(Protocol):
    """What a point must tell of itself to be named."""

    @property
    def id(self) -> str:
        """The id that stands on the page."""

    @property
    def name(self) -> str:
        """The name that the files have."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The result."""

    @property
    def choices(self) -> Mapping[str, Any]:
        """What was chosen, by the keys as they are typed."""


def record(point: Nameable) -> Mapping[str, Any]:
    """Return what names are made of, with the id that stands on the page."""
    return {**point.document["point"], "id": point.id, "name": point.name}


def varying(points: Sequence[Nameable]) -> list[str]:
    """Return the keys in which the points differ, the most telling first."""
    return naming.varying([record(point) for point in points])


def describe(key: str, value: Any) -> str:
    """Return one choice in words, such as `batch 4`."""
    plain = {"backend": str(value), "quant": str(value).removeprefix("force_")}
    if key in plain and value is not None:
        return plain[key]
    if key == "waveglow":
        return "with WaveGlow" if value else "Tacotron 2 only"
    if isinstance(value, list | tuple):
        value = "+".join(map(str, value))
    named = {"bs": "batch", "il": "length", "devices": "device", "model": "model", "seed": "seed"}
    shown = value if isinstance(value, str) else naming.text(value)
    return f"{named.get(key, key.rpartition('.')[2].replace('_', ' '))} {shown}"


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return the text with its middle left out when it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return f"{text[:head]}…{text[-(longest - 1 - head) :]}"


def _words(one: naming.Choice) -> str:
    return describe(one.key, one.text if isinstance(one.value, str) else one.value)


def without(points: Sequence[Nameable], but: Sequence[str]) -> dict[str, str]:
    """Return what varies of each point by its id, in words, less some keys; not unique."""
    found = naming.what_varies([record(point) for point in points], but=but)
    return {
        point.id: " · ".join(map(_words, one)) for point, one in zip(points, found, strict=True)
    }


def _plain_labels(points: Sequence[Nameable]) -> Iterator[str]:
    told = without(points, ())
    for point in points:
        yield shorten(told[point.id] or point.name)


def short_labels(points: Sequence[Nameable]) -> dict[str, str]:
    """Return a short label for each point id; two points never share one."""
    ids = [point.id for point in points]
    made = naming.distinct(list(_plain_labels(points)), ids, "{} ({})".format)
    return dict(zip(ids, made, strict=True))


def full_names(points: Sequence[Nameable]) -> dict[str, str]:
    """Return the name of each point id as the files have it; two points never share one."""
    names = naming.called([record(point) for point in points])
    return {point.id: name for point, name in zip(points, names, strict=True)}


def family(point: Nameable, *but: str) -> tuple[tuple[str, str], ...]:
    """Return a point's choices except the named ones: equal for points of one curve."""
    found = ((key, repr(value)) for key, value in point.choices.items() if key not in but)
    return tuple(sorted(found))
