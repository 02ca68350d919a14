"""Two sweeps against each other, and the baselines kept for that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.console import Console
from harness.errors import ExitStatus, UsageError
from harness.records import baselines as records_baselines

if TYPE_CHECKING:
    from harness.commands.options import Asked


def baseline(asked: Asked) -> ExitStatus:
    """Save a sweep's results under a name, or list the names."""
    console, words = Console(), asked.words
    if words == ("list",):
        for line in records_baselines.describe():
            console.say(line)
        if not records_baselines.names():
            console.say(f"no baseline is saved in {records_baselines.home()}")
        return ExitStatus.FINE
    if len(words) != 3 or words[0] != "save":  # noqa: PLR2004 - save, a name, a folder
        raise UsageError("baseline: `baseline save NAME DIR [overwrite=true]` or `baseline list`")
    place = records_baselines.save(
        words[1], Path(words[2]), overwrite=asked.keys["overwrite"] == "true"
    )
    console.say(f"{words[1]} saved in {place}")
    return ExitStatus.FINE
