"""A finding about a measurement: what was seen, why it matters, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Document = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """Something a reader of the figures must know."""

    code: str
    severity: str
    """`error`, `warning` or `notice`."""
    seen: str
    why: str
    advice: str
