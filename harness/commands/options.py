"""How the words after a command are read, and refused in one line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument as every other wrong input is reported: in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Refuse the arguments."""
        raise UsageError(f"{self.prog}: {message}")


def keys(command: str, words: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return key=value words as a checked mapping, defaults filled in."""
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise UsageError(f"{command}: '{wrong[0]}' is not key=value; keys: {', '.join(known)}")
    given = dict(word.split("=", 1) for word in words)
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{command}: unknown key '{key}'; possible: {', '.join(known)}")
        if known[key] and value not in known[key]:
            raise UsageError(f"{command}: {key}={value}: possible: {', '.join(known[key])}")
    return {key: choices[0] for key, choices in known.items() if choices} | given
