"""Text to symbol ids: the frontend NVIDIA's Tacotron 2 is trained with, and its benchmark text.

Facts: NVIDIA/TensorRT 22.03, demo/Tacotron2/common/text (from keithito/tacotron). The rules are
kept as trained, including "misess", "saint" for every "St." and the pound rule that never fires.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import inflect
    from numpy.typing import NDArray


PAD = "_"
ARPABET = [
    "AA",
    "AA0",
    "AA1",
    "AA2",
    "AE",
    "AE0",
    "AE1",
    "AE2",
    "AH",
    "AH0",
    "AH1",
    "AH2",
    "AO",
    "AO0",
    "AO1",
    "AO2",
    "AW",
    "AW0",
    "AW1",
    "AW2",
    "AY",
    "AY0",
    "AY1",
    "AY2",
    "B",
    "CH",
    "D",
    "DH",
    "EH",
    "EH0",
    "EH1",
    "EH2",
    "ER",
    "ER0",
    "ER1",
    "ER2",
    "EY",
    "EY0",
    "EY1",
    "EY2",
    "F",
    "G",
    "HH",
    "IH",
    "IH0",
    "IH1",
    "IH2",
    "IY",
    "IY0",
    "IY1",
    "IY2",
    "JH",
    "K",
    "L",
    "M",
    "N",
    "NG",
    "OW",
    "OW0",
    "OW1",
    "OW2",
    "OY",
    "OY0",
    "OY1",
    "OY2",
    "P",
    "R",
    "S",
    "SH",
    "T",
    "TH",
    "UH",
    "UH0",
    "UH1",
    "UH2",
    "UW",
    "UW0",
    "UW1",
    "UW2",
    "V",
    "W",
    "Y",
    "Z",
    "ZH",
]
SYMBOLS: tuple[str, ...] = (
    PAD,
    *"-!'(),.:;? ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    *(f"@{name}" for name in ARPABET),
)
IDS = {symbol: number for number, symbol in enumerate(SYMBOLS)}

ABBREVIATIONS = tuple(
    (re.compile(rf"\b{short}\.", re.IGNORECASE), full)
    for short, full in (
        ("mrs", "misess"),
        ("mr", "mister"),
        ("dr", "doctor"),
        ("st", "saint"),
        ("co", "company"),
        ("jr", "junior"),
        ("maj", "major"),
        ("gen", "general"),
        ("drs", "doctors"),
        ("rev", "reverend"),
        ("lt", "lieutenant"),
        ("hon", "honorable"),
        ("sgt", "sergeant"),
        ("capt", "captain"),
        ("esq", "esquire"),
        ("ltd", "limited"),
        ("col", "colonel"),
        ("ft", "fort"),
    )
)
BRACES = re.compile(r"(.*?)\{(.+?)\}(.*)")

_SENTENCE = (
    "The forms of printed letters should be beautiful, and that their arrangement on the page "
    "should be reasonable and a help to the shapeliness of the letters themselves."
)
BENCHMARK_TEXT = f"{_SENTENCE} {_SENTENCE}"
"""333 characters; an input length L takes the first L of them."""


@cache
def _inflect() -> inflect.engine:
    import inflect  # noqa: PLC0415 - costs a quarter of a second

    return inflect.engine()


def _words(number: str | int, **options: str | int) -> str:
    return str(_inflect().number_to_words(number, **options))  # type: ignore[arg-type]


def _dollars(match: re.Match[str]) -> str:
    amount = match[1]
    parts = amount.split(".")
    if len(parts) > 2:  # noqa: PLR2004 - whole and cents
        return f"{amount} dollars"
    whole = int(parts[0]) if parts[0] else 0
    cents = int(parts[1]) if len(parts) > 1 and parts[1] else 0
    said = []
    if whole:
        said.append(f"{whole} {'dollar' if whole == 1 else 'dollars'}")
    if cents:
        said.append(f"{cents} {'cent' if cents == 1 else 'cents'}")
    return ", ".join(said) or "zero dollars"


def _number(match: re.Match[str]) -> str:
    number = int(match[0])
    if not 1000 < number < 3000:  # noqa: PLR2004 - years are read in pairs
        return _words(number, andword="")
    if number == 2000:  # noqa: PLR2004
        return "two thousand"
    if 2000 < number < 2010:  # noqa: PLR2004
        return "two thousand " + _words(number % 100)
    if number % 100 == 0:
        return _words(number // 100) + " hundred"
    return _words(number, andword="", zero="oh", group=2).replace(", ", " ")


def _numbers(text: str) -> str:
    text = re.sub(r"([0-9][0-9,]+[0-9])", lambda m: m[1].replace(",", ""), text)
    text = re.sub(r"£([0-9,]*[0-9]+)", r"\1 pounds", text)
    text = re.sub(r"\$([0-9.,]*[0-9]+)", _dollars, text)
    text = re.sub(r"([0-9]+\.[0-9]+)", lambda m: m[1].replace(".", " point "), text)
    text = re.sub(r"[0-9]+(st|nd|rd|th)", lambda m: _words(m[0]), text)
    return re.sub(r"[0-9]+", _number, text)


def clean(text: str) -> str:
    """Return text as the model was trained to read it ("english_cleaners")."""
    from unidecode import unidecode  # noqa: PLC0415 - only when text is prepared

    text = _numbers(unidecode(text).lower()) if not text.isascii() else _numbers(text.lower())
    for pattern, full in ABBREVIATIONS:
        text = pattern.sub(full, text)
    return re.sub(r"\s+", " ", text)


def _plain_ids(text: str) -> list[int]:
    # The original means to drop "_" and "~" but compares by identity, so "_" survives as the pad
    # id. A pad inside a text has no meaning, so here it is dropped as meant.
    return [IDS[symbol] for symbol in text if symbol in IDS and symbol != PAD]


def to_ids(text: str) -> list[int]:
    """Return the symbol ids of a text; ARPAbet phonemes may stand in braces, as in {HH AW1}.

    Characters without a symbol are dropped; nothing is appended or stripped.
    """
    ids: list[int] = []
    while text:
        match = BRACES.match(text)
        if not match:
            return ids + _plain_ids(clean(text))
        ids += _plain_ids(clean(match[1]))
        ids += [IDS[f"@{token}"] for token in match[2].split() if f"@{token}" in IDS]
        text = match[3]
    return ids


@dataclass(frozen=True)
class Batch:
    """Padded ids, longest row first."""

    ids: NDArray[np.int64]
    """(batch, text), padded with 0."""
    lengths: NDArray[np.int32]
    """(batch,), descending, as a packed LSTM asks for."""
    order: NDArray[np.intp]
    """(batch,): row i holds text number order[i]."""


def pad(rows: Sequence[Sequence[int]]) -> Batch:
    """Sort rows by length, longest first and stably, and pad them with zeros.

    Raises:
        ValueError: there is no row, or a row is empty.
    """
    if not rows or not all(rows):
        raise ValueError("a batch needs at least one text, and no text without symbols")
    lengths = np.array([len(row) for row in rows], np.int32)
    order = np.argsort(-lengths, kind="stable")
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for place, number in enumerate(order):
        ids[place, : lengths[number]] = rows[number]
    return Batch(ids, lengths[order], order)


def benchmark_batch(length: int, batch: int) -> Batch:
    """Return the benchmark text cut after `length` characters, `batch` times."""
    return pad([to_ids(BENCHMARK_TEXT[:length]) for _ in range(batch)])
