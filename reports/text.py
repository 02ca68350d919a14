"""Text as it may stand on a page: no control characters, whatever a name or an error held."""

from __future__ import annotations

import unicodedata


def plain(text: object) -> str:
    """Return the text in one line, control characters shown as a replacement sign.

    Line ends and tabs become spaces. Marks that turn the reading direction are dropped: they
    would reorder what stands beside them.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\t\n\r\v\f\u2028\u2029":
        return " "
    category = unicodedata.category(character)
    if category == "Cf" and unicodedata.bidirectional(character) not in {"BN", ""}:
        return ""
    return (
        "\N{REPLACEMENT CHARACTER}"
        if category in {"Cc", "Cs"} or _noncharacter(character)
        else character
    )


def _noncharacter(character: str) -> bool:
    point = ord(character)
    return point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF  # noqa: PLR2004 - Unicode's list
