"""What of the harness's own files may go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import clean as cleaning
from harness.console import Console
from harness.errors import ExitStatus, UsageError
from harness.units import duration, parse_duration, parse_size, size

if TYPE_CHECKING:
    from harness.commands.options import Asked


def clean(asked: Asked) -> ExitStatus:
    """Name, and with apply=true remove, sweeps and cache entries that are old or too large."""
    keys = asked.keys
    older_s = parse_duration(keys["older"]) if "older" in keys else None
    above = parse_size(keys["above"]) if "above" in keys else None
    if "older" in keys and older_s is None:
        raise UsageError(f"clean: older={keys['older']}: a time such as 12h or 30d")
    if "above" in keys and above is None:
        raise UsageError(f"clean: above={keys['above']}: a size such as 500M or 20G")
    kinds = []
    if keys["what"] in {"all", "sweeps"}:
        kinds.append(cleaning.sweeps(Path(keys["outputs"])))
    if keys["what"] in {"all", "cache"}:
        kinds.append(cleaning.caches())
    console, apply = Console(), keys["apply"] == "true"
    if older_s is None and above is None:
        for items in kinds:
            for item in items:
                console.say(
                    f"{size(item.size_bytes):>11}  {duration(item.age_s):>12} old  "
                    f"{item.kind:<15} {item.path}"
                )
        console.say("nothing is chosen: say older=30d, above=20G or both")
        return ExitStatus.FINE
    going = [
        one for items in kinds for one in cleaning.chosen(items, older_s=older_s, above_bytes=above)
    ]
    for item in going:
        if apply:
            cleaning.remove(item)
        console.say(f"{size(item.size_bytes):>11}  {item.kind:<15} {item.path}")
    total = size(sum(item.size_bytes for item in going))
    done = "removed" if apply else "would go; apply=true removes them"
    console.say(f"{len(going)} with {total} {done}")
    return ExitStatus.FINE
