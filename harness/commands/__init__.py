"""What a user types, and what the terminal shows: measuring, and every subcommand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness.commands.described import COMMANDS
from harness.commands.named import named
from harness.commands.options import HELP
from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.commands.options import Command


MARGIN = 40
"""Where the meanings of commands begin, in columns."""


def described(word: str) -> Command:
    """Return the description of a subcommand.

    Raises:
        UsageError: there is no such subcommand.
    """
    for command in COMMANDS:
        if command.name == word:
            return command
    possible = ", ".join(command.name for command in COMMANDS)
    raise UsageError(f"'{word}' is neither key=value nor a command; commands: {possible}")


def listed() -> str:
    """Return the usage and the meaning of every subcommand, a line or two each."""
    lines = []
    for command in COMMANDS:
        usage = f"  {command.usage}".ljust(MARGIN)
        if not usage.endswith(" "):
            lines.append(usage)
            usage = " " * MARGIN
        lines.append(f"{usage}{command.summary}")
    return "\n".join(lines)


def run(word: str, arguments: Sequence[str]) -> ExitStatus:
    """Run a subcommand, or say what it takes.

    A module is imported when one of its commands is asked for, so that none waits for another's
    needs, and help for nothing.

    Raises:
        UsageError: there is no such subcommand, or its arguments are wrong.
    """
    command = described(word)
    if set(HELP) & set(arguments):
        sys.stdout.write(command.help())
        return ExitStatus.FINE
    asked = command.read(arguments)
    status: ExitStatus = named(f"{command.module}:{word}")(asked)
    return status
