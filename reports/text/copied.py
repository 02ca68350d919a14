"""Commands a page offers for copying: quoted for a shell, nothing in them that runs or says where.

A result file may come from anybody, and whoever copies a line pastes it into a shell. So only what
can be read as a command of the harness is offered, put together anew from its words; words that
would run something or name a place stand beside it, for the reader to judge.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.planning import asked
from reports.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence


PROGRAM = ("python", "-m", "harness")
STUDIES = ("roofline", "selfcheck", "slo")
"""Commands that leave results themselves."""


@dataclass(frozen=True)
class CopiedCommand:
    """A command of a result file, or why there is none to copy."""

    text: str
    """For a shell, in one line; empty when nothing can be offered."""
    apart: tuple[str, ...] = ()
    """Words left out of it, each quoted for a shell."""
    other: str = ""
    """What the file says, when it is no command of the harness."""


def of_words(words: Sequence[str]) -> CopiedCommand:
    """Return the command that the words of a harness command line make."""
    study = list(words[:1]) if words[:1] and words[0] in STUDIES else []
    kept: list[str] = []
    apart: list[str] = []
    for word in words[len(study) :]:
        into = kept if word == plain(word) and asked.of_word(word) is None else apart
        into.append(shlex.quote(plain(word)))
    return CopiedCommand(" ".join([*PROGRAM, *study, *kept]), tuple(apart))


def of_text(text: str) -> CopiedCommand:
    """Return what may be copied of the command that a file says made it."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if tuple(words[: len(PROGRAM)]) != PROGRAM:
        return CopiedCommand("", other=plain(text))
    return of_words(words[len(PROGRAM) :])
