"""Numbers as people read them."""

from __future__ import annotations

import pytest

from harness import units


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.5, "1.500 s"), (0.4123, "412.3 ms"), (3e-4, "300.0 us"), (2e-8, "20.00 ns"), (0, "0 s"),
     (1234.5, "1,234 s")],
)  # fmt: skip
def test_spans_choose_their_unit(value: float, text: str) -> None:
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "0 s"), (45, "45 s"), (59.7, "1 min"), (185, "3 min 05 s"), (7800, "2 h 10 min"),
     (3600, "1 h")],
)  # fmt: skip
def test_durations_are_short(value: float, text: str) -> None:
    assert units.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(7892.7, "7,893"), (12.414, "12.41"), (0.5, "0.5000"), (0, "0")]
)
def test_quantities_keep_four_digits(value: float, text: str) -> None:
    assert units.quantity(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12 B"), (2048, "2.000 KiB"), (113246208, "108.0 MiB")]
)
def test_sizes_are_binary(value: int, text: str) -> None:
    assert units.size(value) == text
