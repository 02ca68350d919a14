"""The text frontend against the figures of NVIDIA's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.models import text

IDS_128 = """
57 45 42 11 43 52 55 50 56 11 52 43 11 53 55 46   51 57 42 41 11 49 42 57 57 42 55 56 11 56 45 52
58 49 41 11 39 42 11 39 42 38 58 57 46 43 58 49    6 11 38 51 41 11 57 45 38 57 11 57 45 42 46 55
11 38 55 55 38 51 44 42 50 42 51 57 11 52 51 11   57 45 42 11 53 38 44 42 11 56 45 52 58 49 41 11
39 42 11 55 42 38 56 52 51 38 39 49 42 11 38 51   41 11 38 11 45 42 49 53 11 57 52 11 57 45 42 11
"""


def test_the_symbol_table_has_148_entries_in_the_trained_order() -> None:
    assert len(text.SYMBOLS) == 148
    assert [text.IDS[s] for s in ("_", "-", "!", " ", "A", "a", "z", "@AA", "@ZH")] == [
        0,
        1,
        2,
        11,
        12,
        38,
        63,
        64,
        147,
    ]


def test_the_benchmark_text_is_333_characters() -> None:
    assert len(text.BENCHMARK_TEXT) == 333


def test_the_ids_of_128_characters_are_the_published_ones() -> None:
    assert text.to_ids(text.BENCHMARK_TEXT[:128]) == [int(word) for word in IDS_128.split()]


@pytest.mark.parametrize(
    ("length", "count", "total"),
    [(64, 64, 2698), (128, 128, 5242), (256, 256, 10633), (400, 333, 13855)],
)
def test_the_ids_of_every_input_length_sum_as_published(
    length: int, count: int, total: int
) -> None:
    ids = text.to_ids(text.BENCHMARK_TEXT[:length])
    assert (len(ids), sum(ids)) == (count, total)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("$1,234.56", "twelve thirty-four dollars, fifty-six cents"),
        ("$0.01", "one cent"),
        ("$.50", "fifty cents"),
        ("$2.5", "two dollars, five cents"),
        ("$1.2.3", "one point two.three dollars"),
        ("123456", "one hundred twenty-three thousand, four hundred fifty-six"),
        ("007", "seven"),
        ("100th", "one hundredth"),
        ("2005th", "two thousand and fifth"),
        ("1950s", "nineteen fiftys"),
        ("12:30", "twelve:thirty"),
        ("24th", "twenty-fourth"),
        ("3.14", "three point fourteen"),
        ("1999", "nineteen ninety-nine"),
        ("1001", "ten oh one"),
        ("1905", "nineteen oh five"),
        ("2019", "twenty nineteen"),
        ("2000", "two thousand"),
        ("2007", "two thousand seven"),
        ("1000", "one thousand"),
        ("3000", "three thousand"),
        ("£5", "psfive"),
        ("1,2", "twelve"),
        ("Dr. Smith, Mr. and Mrs. Jones", "doctor smith, mister and misess jones"),
        ("St. John\n  and  co.", "saint john and company"),
        ("café – naïve…", "cafe - naive..."),
    ],
)
def test_cleaning_reads_as_the_original_does(raw: str, said: str) -> None:
    assert text.clean(raw) == said


def test_phonemes_stand_in_braces() -> None:
    ids = text.to_ids("Turn left on {HH AW1 S S T AH0 N} Street.")
    assert ids[:21] == [
        *(57, 58, 55, 51, 11, 49, 42, 43, 57, 11, 52, 51, 11),
        *(106, 82, 131, 131, 133, 73, 119, 11),
    ]


def test_the_pad_symbol_and_unknown_characters_are_dropped() -> None:
    assert text.to_ids("a_b~c%") == [38, 39, 40]


def test_rows_are_sorted_longest_first_and_the_order_is_kept() -> None:
    batch = text.pad([[1, 2], [3, 4, 5], [6, 7]])
    assert batch.lengths.tolist() == [3, 2, 2]
    assert batch.order.tolist() == [1, 0, 2]
    assert batch.ids.tolist() == [[3, 4, 5], [1, 2, 0], [6, 7, 0]]


@given(st.lists(st.lists(st.integers(1, 147), min_size=1, max_size=9), min_size=1, max_size=9))
def test_padding_loses_no_row(rows: list[list[int]]) -> None:
    batch = text.pad(rows)
    back: list[list[int]] = [[]] * len(rows)
    for place, number in enumerate(batch.order):
        back[number] = batch.ids[place, : batch.lengths[place]].tolist()
    assert back == rows
    assert np.all(np.diff(batch.lengths) <= 0)


def test_an_empty_row_is_refused() -> None:
    with pytest.raises(ValueError, match="no text without symbols"):
        text.pad([[1], []])
