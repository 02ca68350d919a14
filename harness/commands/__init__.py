"""The subcommands: everything `python -m harness WORD ...` does beside measuring."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "backends": "machine",
    "baseline": "comparing",
    "clean": "disk",
    "compare": "comparing",
    "doctor": "machine",
    "export": "models",
    "fetch": "models",
    "history": "sweeps",
    "report": "sweeps",
    "roofline": "machine",
    "selfcheck": "machine",
    "slo": "serving",
    "verify": "sweeps",
}
"""Command -> module of this package, which has a function of the command's name.

A module is imported when one of its commands is asked for, so that none waits for another's needs.
"""


def run(word: str, arguments: Sequence[str]) -> ExitStatus:
    """Run a subcommand.

    Raises:
        UsageError: there is no such subcommand, or its arguments are wrong.
    """
    if word not in COMMANDS:
        possible = ", ".join(sorted(COMMANDS))
        raise UsageError(f"'{word}' is neither key=value nor a command; commands: {possible}")
    module = importlib.import_module(f"{__name__}.{COMMANDS[word]}")
    status: ExitStatus = getattr(module, word)(arguments)
    return status
