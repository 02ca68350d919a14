"""Effective precision in words, made safe to show: a result file may hold any text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.records import precision
from reports.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping


def stage_precision(effective: Mapping[str, Any]) -> str:
    """Return one stage's precision, such as `float32 compute, float16-rounded values`."""
    return plain(precision.stage_precision(effective))


def precision_text(document: Mapping[str, Any]) -> str:
    """Return the precision of all stages; empty when none was loaded."""
    return plain(precision.precision_text(document))
