"""Verdicts and ratios in words."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from harness.units import apart, interval, percent, seconds
from reports.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.judging.comparison import Comparison, ComparisonRow, NullControl


_ORDER = ("slower", "faster", "unresolved", "no difference", "not comparable")


def verdict_counts(words: Iterable[str]) -> str:
    """Return how many figures were compared and how often each verdict was given."""
    counts = Counter(words)
    parts = [f"{counts[word]} {word}" for word in _ORDER if counts[word]]
    return f"{counts.total()} figures compared: {', '.join(parts) or 'nothing'}."


def ratio_text(value: float | None, limits: Sequence[float] = ()) -> str:
    """Return a ratio as every surface shows it; empty when there is none.

    Args:
        value: candidate over baseline.
        limits: what decided on it; it has the decimals that show on which side of them it lies.
    """
    if value is None:
        return ""
    return max((apart(value, limit, 4)[0] for limit in limits), key=len, default=f"{value:.4f}")


def seconds_text(value: float | None) -> str:
    """Return a duration as every surface shows it; empty when there is none."""
    return "" if value is None else seconds(value)


def interval_text(row: ComparisonRow) -> str:
    """Return the interval of a row's ratio; empty without a ratio, `none` without an interval."""
    if row.difference is None:
        return ""
    low, high = row.difference.interval
    return interval(low, high, ratio_text) if math.isfinite(high) else "none"


def why(row: ComparisonRow) -> str:
    """Return what is still needed before a row can be decided, or why it cannot be.

    First of all stands that a side computes something else.
    """
    parts = [f"accuracy failed in the {row.inaccurate}"] if row.inaccurate else []
    if row.difference and row.difference.further:
        parts.append(f"{row.difference.further} more processes")
    elif row.reason:
        parts.append(plain(row.reason))
    return "; ".join(parts)


def headline(found: Comparison) -> list[str]:
    """Return what the whole comparison says: the count of verdicts first, then its terms."""
    lines = [verdict_counts(str(row.verdict) for row in found.rows)]
    if found.geometric_mean is not None and found.worst is not None and found.worst.difference:
        lines.append(
            f"Geometric mean of {found.of_what} ratios {found.geometric_mean:.4f}; worst point "
            f"{plain(found.worst.point)}: {found.worst.difference.ratio:.4f}."
        )
    lines.append(f"A difference counts from {percent(found.delta)} on. {_occasions(found)}")
    if found.under_test:
        lines.append(f"Under test: {plain(', '.join(found.under_test))}.")
    if found.null_control is not None:
        lines.append(_null_control(found.null_control))
    if found.new_points:
        lines.append(f"Only in the candidate: {plain(', '.join(found.new_points))}.")
    if found.failed:
        lines.append(f"Failed in the candidate: {plain(', '.join(found.failed))}.")
    if found.inaccurate:
        lines.append(
            f"Accuracy failed in the candidate: {plain(', '.join(found.inaccurate))}. Its times "
            "are those of a network that computes something else."
        )
    lines += [plain(line) for line in found.machines]
    lines.append(f"Models: {plain('; '.join(found.labels))}.")
    return lines


def _occasions(found: Comparison) -> str:
    if found.interleaved:
        return "Both sides were measured side by side, in the same blocks."
    known = "were measured" if found.occasion_measured else "are assumed"
    return (
        f"Two occasions on one host {known} to differ by {percent(found.occasion_sd)} (SD), which "
        "widens every interval."
    )


def _null_control(control: NullControl) -> str:
    rows = ", ".join(
        f"{plain(row.point)} {ratio_text(row.difference.ratio if row.difference else None)} "
        f"{row.verdict}"
        for row in control.rows
    )
    if control.passed:
        return f"Null control passed: the baseline against itself gave {rows}."
    return (
        f"Null control failed: the baseline against itself gave {rows}. No slower or faster of "
        "this comparison stands; find what disturbs the machine and measure again."
    )


def edges(found: Comparison) -> tuple[float, float]:
    """Return the ratios from which a difference counts."""
    return 1 / (1 + found.delta), 1 + found.delta
