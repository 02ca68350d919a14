"""What of the harness's own files may go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import clean as cleaning
from harness import folder as folders
from harness.console import Console
from harness.errors import ExitStatus, UsageError
from harness.units import duration, parse_duration, parse_size, size

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    for path in _linked(keys):
        console.say(f"skipped: {path} is a link to {path.resolve()}, which is not looked at")
    if older_s is None and above is None:
        for items in kinds:
            for item in items:
                console.say(
                    f"{size(item.size_bytes):>11}  {duration(item.age_s):>12} old  "
                    f"{item.kind:<15} {item.path}{' (in use)' * item.in_use}"
                )
        console.say("nothing is chosen: say older=30d, above=20G or both")
        return ExitStatus.FINE
    going = [
        one for items in kinds for one in cleaning.chosen(items, older_s=older_s, above_bytes=above)
    ]
    gone = [one for one in going if _goes(one, console, apply=apply)]
    total = size(sum(item.size_bytes for item in gone))
    done = "removed" if apply else "would go; apply=true removes them"
    console.say(f"{len(gone)} with {total} {done}")
    return ExitStatus.FINE


def _linked(keys: Mapping[str, str]) -> list[Path]:
    found = []
    if keys["what"] in {"all", "sweeps"}:
        found += cleaning.linked_sweeps(Path(keys.get("outputs", "outputs")))
    if keys["what"] in {"all", "cache"}:
        found += cleaning.linked_caches()
    return found


def _goes(item: cleaning.Item, console: Console, *, apply: bool) -> bool:
    """Say that something goes, and let it go if that was asked for; return whether it could."""
    try:
        if apply:
            cleaning.remove(item)
    except folders.LockFileError as error:
        console.say(f"skipped: {error}")
        return False
    console.say(f"{size(item.size_bytes):>11}  {item.kind:<15} {item.path}")
    return True
