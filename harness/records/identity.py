"""Ids and hashes: of points, of trials, of their content; the sides of a comparison."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Document = Mapping[str, Any]
    from collections.abc import Callable, Mapping

    Note = Callable[[bytes], None]


def differing_keys(prefix: str, base: Any, new: Any) -> list[str]:
    """Return the dotted names, below `prefix`, of what differs between two nested mappings."""
    if isinstance(base, dict) and isinstance(new, dict):
        return [
            key
            for name in dict.fromkeys([*base, *new])
            for key in differing_keys(f"{prefix}.{name}", base.get(name), new.get(name))
        ]
    return [] if base == new else [prefix.removeprefix(".")]


class Side(StrEnum):
    """What a point is measured for; a side's results lie together and read as a sweep."""

    CANDIDATE = "candidate"
    BASELINE = "baseline"
    CONTROL = "control"
    """The baseline once more, in the same blocks: it must show no difference."""


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value: sorted keys, no white space, UTF-8."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def point_id(facts: Mapping[str, Any]) -> str:
    """Return the id of a point: 16 hex digits of the SHA-256 of its canonical facts."""
    return hashlib.sha256(canonical(facts)).hexdigest()[:16]


def new_trial_id() -> str:
    """Return an id that sorts by time and is unique without asking anybody."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"


def content_hash(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document without its own hash."""
    rest = {key: value for key, value in document.items() if key != "content_sha256"}
    return hashlib.sha256(canonical(rest)).hexdigest()
