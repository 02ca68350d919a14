"""The front: what no other point beats in both throughput and latency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.figures.pareto import front

PLACES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        ([], set()),
        ([(1, 1)], {0}),
        ([(1, 1), (2, 2)], {0, 1}),
        ([(1, 2), (2, 1)], {1}),
        ([(1, 1), (1, 2)], {0}),
        ([(1, 1), (2, 1)], {1}),
        ([(3, 3), (3, 3)], {0, 1}),
    ],
)
def test_small_cases(places: list[tuple[float, float]], kept: set[int]) -> None:
    assert front(places) == kept


@given(PLACES)
def test_the_front_is_what_nothing_beats(places: list[tuple[int, int]]) -> None:
    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] >= b[0] and a[1] <= b[1] and a != b

    kept = {at for at, one in enumerate(places) if not any(beats(two, one) for two in places)}
    assert front(places) == kept
