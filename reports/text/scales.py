"""Numbers as they stand in a column: one unit, one count of decimals, thousands apart.

Decimals follow the interval: two significant digits of the narrowest half-width in the column
(report reference, section 4), so that no digit is shown that the measurement cannot support.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.units import interval

if TYPE_CHECKING:
    from collections.abc import Iterable


DASH = " – "
"""Between the ends of an interval in a table."""
MOST_DECIMALS = 6
_NOISE = 1e-9
"""Half-widths below this share of the values are rounding errors of equal samples."""
_TIME_UNITS = (("s", 1.0, 10.0), ("ms", 1e3, 1e-3), ("µs", 1e6, 0.0))
"""Unit, units per second, and the least typical value in seconds it is chosen for."""


@dataclass(frozen=True)
class Scale:
    """How the values of one column become text."""

    unit: str
    factor: float = 1.0
    decimals: int = 0

    def text(self, value: float | None) -> str:
        """Return the value in this scale's unit, without the unit."""
        if value is None or not math.isfinite(value):
            return ""
        shown = f"{value * self.factor:,.{self.decimals}f}"
        return shown.removeprefix("-") if float(shown.replace(",", "")) == 0 else shown

    def interval(self, low: float | None, high: float | None) -> str:
        """Return `low – high`; empty when an end is missing."""
        return interval(low, high, self.text, DASH)

    def bracketed(self, low: float | None, high: float | None) -> str:
        """Return `(low – high)`, as it stands behind or below a figure; empty without an end."""
        return f"({ends})" if (ends := self.interval(low, high)) else ""

    def with_decimals(self, half_widths: Iterable[float | None], values: Iterable[float]) -> Scale:
        """Return this scale with the decimals the given half-widths support."""
        sizes = [abs(v) * self.factor for v in values if v]
        least = max(sizes, default=0.0) * _NOISE
        widths = [w * self.factor for w in half_widths if w and w * self.factor > least]
        if widths:
            decimals = 1 - math.floor(math.log10(min(widths)))
        elif sizes:
            decimals = 2 - math.floor(math.log10(max(sizes)))
        else:
            decimals = 0
        return Scale(self.unit, self.factor, min(max(decimals, 0), MOST_DECIMALS))


def time_scale(seconds: Iterable[float | None]) -> Scale:
    """Return the unit in which the typical of these seconds reads best."""
    known = sorted(value for value in seconds if value)
    typical = known[len(known) // 2] if known else 1.0
    unit, factor = next((u, f) for u, f, least in _TIME_UNITS if typical >= least)
    return Scale(unit, factor, 1)


def seconds_text(value: float | None) -> str:
    """Return one duration with its unit, to three significant digits."""
    if value is None:
        return "unknown"
    unit, factor = next((u, f) for u, f, least in _TIME_UNITS if abs(value) >= min(least, 1.0))
    scaled = value * factor
    digits = 0 if scaled == 0 else max(0, 2 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:,.{digits}f} {unit}"
