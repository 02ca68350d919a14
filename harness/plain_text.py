"""Text that came from elsewhere: as a file's name, in a line for a reader, inside quotes."""

from __future__ import annotations

import json
import re
import unicodedata

from harness.errors import UsageError

LONGEST_NAME = 255
"""Bytes, on every usual file system."""
LONGEST_QUOTE = 300
PLAIN_VALUE = re.compile(
    r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_/][A-Za-z0-9_.+/@%-]*", re.IGNORECASE
)
"""A text that Hydra reads as it stands, and as text."""


def file_name(text: object, what: str) -> str:
    """Return a text that is to be the name of a file or of one folder, once it is known to be one.

    Every string of a result file that becomes part of a path goes through here.

    Args:
        text: the name.
        what: what it names, for the message.

    Raises:
        UsageError: it is no text, empty, too long, `.` or `..`, begins with a dash, or holds a
            slash, a backslash or a control character.
    """
    if isinstance(text, str) and text not in {"", ".", ".."} and text[0] != "-":
        clean = text.isprintable() and "/" not in text and "\\" not in text
        if clean and len(text.encode(errors="replace")) <= LONGEST_NAME:
            return text
    raise UsageError(
        f"{what} {quoted(text)}: cannot be a file's name (no '/', '\\' or control character, no "
        f"leading '-', not '..', at most {LONGEST_NAME} bytes)"
    )


def quoted(text: object) -> str:
    """Return a text between quotes, in one line that can be read: nothing hides in it."""
    whole = json.dumps(plain(text), ensure_ascii=False)
    if len(whole) <= LONGEST_QUOTE:
        return whole
    return f"{whole[:LONGEST_QUOTE]}..., {len(str(text))} characters"


def hydra_value(value: object) -> str:
    """Return a value as Hydra reads it back, quoted where a character would mean something."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if not isinstance(value, str) or PLAIN_VALUE.fullmatch(text):
        return text
    # Before what is escaped every backslash counts twice, elsewhere once.
    escaped = re.sub(r"(\\*)('|\$\{|\Z)", lambda match: match[1] * 2 + _escaped(match[2]), text)
    return f"'{escaped}'"


def _escaped(mark: str) -> str:
    return f"\\{mark}" if mark else ""


def plain(text: object) -> str:
    """Return the text in one line, control characters shown as a replacement sign.

    Line ends and tabs become spaces. Marks that turn the reading direction are dropped: they
    would reorder what stands beside them.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def plain_lines(text: str) -> str:
    """Return a text whose lines are each plain."""
    if text.isprintable():
        return text
    return "\n".join(plain(line) for line in text.split("\n"))


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
