"""Numbers to text for people. Files hold plain seconds and bytes; only the terminal rounds."""

from __future__ import annotations

import re

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_DIGITS = 4
MINUTE_S, HOUR_S = 60, 3600
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
