"""Which points of two sweeps belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import naming

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    Document = Mapping[str, Any]


IDENTITY = (
    "pipeline", "backend", "quant", "bs", "il", "waveglow", "devices", "model", "seed", "scenario",
    "sync", "sigma", naming.ASKED,
)  # fmt: skip
"""What a point is matched by: its configuration, without the hashes of its models."""


@dataclass(frozen=True)
class Pair:
    """A baseline's point and the candidate's it is held against."""

    base: Document
    new: Document | None
    chosen: bool = False
    """The user paired them, so that what differs in their configuration is under test."""
    several: int = 0
    """Without a candidate: how many have the configuration, so that none can be chosen."""


def paired(baseline: Sequence[Document], candidate: Sequence[Document]) -> list[Pair]:
    """Return each point of the baseline with the candidate's of the same configuration.

    Where several have it and differ in their models alone, the same models come first, then the
    same words for them. What is still undecided is left without a partner, and says so.
    """
    left = {one["point"]["id"]: one for one in candidate}
    found: dict[str, Pair] = {}
    for same in (_id, _asked, _key):
        bases, news = _by(same, baseline, found), _by(same, left.values())
        for key, having in bases.items():
            if len(having) == len(news.get(key, ())) == 1:
                new = left.pop(news[key][0]["point"]["id"])
                found[_id(having[0])] = Pair(having[0], new)
    several = _by(_key, left.values())
    return [
        found.get(_id(base)) or Pair(base, None, several=len(several.get(_key(base), ())))
        for base in baseline
    ]


def _by(
    key: Callable[[Document], str], documents: Iterable[Document], without: Container[str] = ()
) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = {}
    for one in documents:
        if _id(one) not in without:
            groups.setdefault(key(one), []).append(one)
    return groups


def _id(document: Document) -> str:
    return str(document["point"]["id"])


def _asked(document: Document) -> str:
    return repr([_key(document), sorted((document["point"].get(naming.ASKED) or {}).items())])


def _key(document: Document) -> str:
    config = document["point"]["config"]
    return repr([config.get(name) for name in IDENTITY])
