"""Effective precision in words: what really ran, not what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def stage_precision(effective: Mapping[str, Any]) -> str:
    """Return one stage's precision, such as `float32 compute, float16-rounded values`."""
    compute = str(effective.get("compute") or "unknown")
    storage = str(effective.get("storage") or compute)
    activations = str(effective.get("activations") or compute)
    if storage == activations == compute:
        text = compute
    elif storage == activations:
        text = f"{compute} compute, {storage} values"
    else:
        text = f"{compute} compute, {storage} weights, {activations} activations"
    return text if effective.get("verified") else f"{text} (not verified)"


def precision_text(document: Mapping[str, Any]) -> str:
    """Return the precision of all stages of a result document; empty when none was loaded."""
    effective = (document.get("settings") or {}).get("effective") or {}
    stages: dict[str, list[str]] = {}
    for name in (stage["name"] for stage in document.get("stages") or ()):
        if name in effective:  # in the pipeline's order: a file's own keys are sorted
            stages.setdefault(stage_precision(effective[name]), []).append(str(name))
    if len(stages) == 1:
        return next(iter(stages))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in stages.items())
