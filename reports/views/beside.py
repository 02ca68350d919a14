"""What a sweep says of its baseline: whether there was any, and what the comparison found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.text.plain import plain
from reports.text.verdicts import verdict_counts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


PAGE, DATA = "comparison.html", "comparison.json"
"""The page of a sweep's comparison with its baseline, and the same figures for programs."""
NONE = "No baseline was given, so no point is judged faster or slower than another."


@dataclass(frozen=True)
class Beside:
    """What is said of the baseline of one sweep.

    Attributes:
        text: what the comparison found, in a few sentences; empty where no baseline was given.
        page: the page of the comparison; None where there is none.
    """

    text: str = ""
    page: Path | None = None


NO_BASELINE = Beside()


def read(folder: Path, facts: Mapping[str, Any]) -> Beside:
    """Return what a sweep's folder says of its baseline.

    Args:
        folder: of the sweep.
        facts: its `sweep.json`.
    """
    side = facts.get("side")
    if side in {"baseline", "control"}:
        return Beside(
            f"These points are the {side} of the sweep in the folder above, measured beside it; "
            "the verdicts are there."
        )
    if not facts.get("pairs"):
        return NO_BASELINE
    try:
        found = json.loads((folder / DATA).read_bytes())
        text = _summary(found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Beside(
            "Measured side by side with a baseline. No comparison is stored yet: it is made when "
            "the sweep has ended, and by python -m harness compare with this folder."
        )
    page = folder / PAGE
    return Beside(text, page if page.is_file() else None)


def _summary(found: Mapping[str, Any]) -> str:
    """Return what a stored comparison says.

    Raises:
        KeyError, TypeError, AttributeError: it holds something else.
    """
    parts = [
        "Measured side by side with a baseline.",
        verdict_counts(str(row["verdict"]) for row in found["rows"]),
    ]
    # The first row of a point is that of the figure looked at first.
    first = next((row for row in found["rows"] if row["point"] == found["worst"]), None)
    if found["geometric_mean"] is not None and first is not None and first["ratio"] is not None:
        parts.append(
            f"Geometric mean of {plain(first['metric'])} ratios "
            f"{float(found['geometric_mean']):.4f}; worst point {plain(first['point'])}: "
            f"{float(first['ratio']):.4f}."
        )
    if found["null_control"] is not None:
        outcome = "passed" if found["null_control"] else "failed: no slower or faster stands"
        parts.append(f"Null control {outcome}.")
    return " ".join(parts)
