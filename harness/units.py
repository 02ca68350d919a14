"""Numbers to text for people. Files hold plain seconds and bytes; only the terminal rounds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_DIGITS = 4
MINUTE_S, HOUR_S = 60, 3600
_MOST_DECIMALS = 17
_LIMIT_SHARE = 0.005
"""A limit is written so exactly that no more than this share of it is lost."""
_SPAN_S = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": 24 * HOUR_S}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def significant(value: float, digits: int = _DIGITS) -> str:
    """Return a number with so many significant digits, never in exponent form."""
    if value == 0:
        return "0"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if whole >= digits:
        return f"{value:,.0f}"
    decimals = digits - whole
    return f"{value:,.{decimals}f}"


def seconds(value_s: float) -> str:
    """Return a span in the unit that suits it: `412.3 ms`."""
    factor, unit = next((one for one in _TIMES if abs(value_s) >= one[0]), _TIMES[-1])
    if value_s == 0:
        return "0 s"
    return f"{significant(value_s / factor)} {unit}"


def quantity(value: float) -> str:
    """Return a count or a rate with thousands separators: `7,893` or `12.41`."""
    return significant(value)


def interval(
    low: float | None, high: float | None, text: Callable[[float], str], between: str = " to "
) -> str:
    """Return both ends of an interval as every surface shows it; empty where an end is missing."""
    return "" if low is None or high is None else f"{text(low)}{between}{text(high)}"


def possible(
    value: float | None, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """Return the ends of an interval without what its quantity cannot be.

    Times, rates and their ratios are never below 0, but a t interval of few processes may reach
    there. Only where the value itself is negative, which is an error that is shown as it is, does
    the interval keep its end.
    """
    cut = low is not None and low < 0 and value is not None and value >= 0
    return (0.0 if cut else low), high


# --- a value beside the limit that decides on it ---------------------------------------------


def apart(value: float, limit: float, decimals: int) -> tuple[str, str]:
    """Return a value and its limit with the decimals that show on which side the value lies.

    As written the value is below, above or equal to the limit exactly if it is so unrounded, and
    a small limit is not rounded away.

    Args:
        value: what was measured.
        limit: what it is held against.
        decimals: the fewest to write.
    """
    side = _side(value, limit)
    for places in range(decimals, _MOST_DECIMALS):
        shown, against = round(value, places), round(limit, places)
        kept = abs(against - limit) <= _LIMIT_SHARE * abs(limit)
        if kept and _side(shown, against) == side:
            return f"{shown:,.{places}f}", _trimmed(against, places, decimals)
    return repr(value), repr(limit)


def _side(value: float, limit: float) -> int:
    return (value > limit) - (value < limit)


def _trimmed(value: float, places: int, least: int) -> str:
    """Return a number without the zeros at its end, but with at least so many decimals."""
    whole, _, digits = f"{value:,.{places}f}".partition(".")
    digits = digits.rstrip("0").ljust(least, "0")
    return f"{whole}.{digits}" if digits else whole


def shares(value: float, limit: float, decimals: int = 1) -> tuple[str, str]:
    """Return two shares in percent, as `apart` does: 0.0204 and 0.02 are `2.04%` and `2.0%`."""
    shown, against = apart(100 * value, 100 * limit, decimals)
    return f"{shown}%", f"{against}%"


def percent(limit: float, decimals: int = 1) -> str:
    """Return a limit that is a share, in percent and never rounded away: `2.0%`, `0.01%`."""
    return shares(limit, limit, decimals)[1]


def spans(value_s: float, limit_s: float) -> tuple[str, str]:
    """Return two spans in the unit that suits the limit, as `apart` does."""
    factor, unit = next((one for one in _TIMES if abs(limit_s) >= one[0]), _TIMES[-1])
    whole = len(str(int(abs(limit_s) / factor)))
    shown, against = apart(value_s / factor, limit_s / factor, max(0, _DIGITS - whole))
    return f"{shown} {unit}", f"{against} {unit}"


def duration(value_s: float) -> str:
    """Return how long something takes, to the second: `45 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(value_s)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        minutes, rest = divmod(whole, MINUTE_S)
        return f"{minutes} min" + (f" {rest:02d} s" if rest else "")
    hours, rest = divmod(round(whole / MINUTE_S), MINUTE_S)
    return f"{hours} h" + (f" {rest:02d} min" if rest else "")


def size(count: int) -> str:
    """Return a number of bytes in binary units: `108.2 MiB`."""
    for factor, unit in _SIZES:
        if count >= factor:
            return f"{significant(count / factor)} {unit}"
    return f"{count} B"


def parse_duration(text: str) -> float | None:
    """Return the seconds of `90s`, `30m`, `1h30m`, `2d` or a bare number; None if it is none."""
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+|\d+(\.\d+)?", text):
        return None
    parts = re.findall(r"([\d.]+)([smhd]?)", text)
    return sum(float(number) * _SPAN_S[unit or "s"] for number, unit in parts) or None


def parse_size(text: str) -> int | None:
    """Return the bytes of `500M`, `20G`, `1.5GiB` or a bare number; None if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.lower())
    return int(float(match[1]) * _BYTES[match[2]]) if match else None
