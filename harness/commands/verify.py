"""What is done with the results of one sweep: its report, its check, its place in history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.commands.console import Console
from harness.commands.options import existing_folder
from harness.errors import ExitStatus, UsageError
from harness.judging import verify as checking

if TYPE_CHECKING:
    from harness.commands.options import Asked


def verify(asked: Asked) -> ExitStatus:
    """Compute every stored summary again from the raw samples; check schema and hashes."""
    folder = existing_folder("verify", asked)
    console, checked = Console(), 0
    problems: list[str] = []
    for path in checking.files(folder):
        checked += 1
        problems += checking.problems(path)
    for line in problems:
        console.say(line)
    if not checked:
        raise UsageError(f"verify {folder}: holds no result file; name a sweep's folder")
    console.say(f"{checked} result files checked, {len(problems)} problems")
    return ExitStatus.ERROR if problems else ExitStatus.FINE
