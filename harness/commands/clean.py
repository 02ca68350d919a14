"""What of the files the harness made may go, by age or by size; nothing that others made."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import files
from harness.commands.console import Console
from harness.errors import ExitStatus, UsageError
from harness.models import store, uses
from harness.records import sweep_folder
from harness.units import duration, parse_duration, parse_size, size

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from harness.commands.options import Asked


CACHES = ("models", "forms", "compiled", "references")


@dataclass(frozen=True)
class Item:
    """A sweep or an entry of the cache."""

    path: Path
    kind: str
    """`sweep`, or the cache it belongs to."""
    size_bytes: int
    age_s: float
    """Since anything in it was last written, or, in the cache, last used."""
    in_use: bool = False
    more: tuple[Path, ...] = ()
    """Files that are of no use without the first, and go with it."""


def sweeps(outputs: Path) -> list[Item]:
    """Return the sweeps in `outputs`, newest first; what is no sweep of ours is not looked at."""
    there = [] if outputs.is_symlink() else sweep_folder.sweeps(outputs)
    own = (path for path in there if not path.is_symlink() and sweep_folder.facts(path))
    return _sorted(_item(path, kind="sweep", in_use=sweep_folder.is_held(path)) for path in own)


def caches() -> list[Item]:
    """Return the entries of the cache, newest first."""
    return _sorted(_cached(store.cache_folder()))


def _cached(root: Path) -> Iterator[Item]:
    used = uses.used(root)
    for kind in CACHES:
        place = root / kind
        if not place.is_dir() or place.is_symlink() or root.is_symlink():
            continue
        together: dict[str, list[Path]] = {}
        for path in sorted(path for path in place.iterdir() if not path.is_symlink()):
            stem = "" if path.is_dir() else path.name.partition(".")[0]
            together.setdefault(stem or path.name, []).append(path)
        for paths in together.values():
            yield _item(*paths, kind=f"cache: {kind}", in_use=_are_used(paths, used))


def _are_used(paths: Iterable[Path], used: Iterable[Path]) -> bool:
    """Return whether a running process uses any of these files, or what is in these folders."""
    mine = {path.absolute() for path in paths}
    return any(mine & {one, *one.parents} for one in used)


def linked_sweeps(outputs: Path) -> list[Path]:
    """Return the linked folders in `outputs`, or `outputs` where it is a link itself.

    Nothing goes through a link: neither the link nor what it leads to.
    """
    return _links([outputs])


def linked_caches() -> list[Path]:
    """Return the links among the caches and their entries, or the cache where it is one itself."""
    root = store.cache_folder()
    return _links([root]) if root.is_symlink() else _links([root / kind for kind in CACHES])


def _links(places: Iterable[Path]) -> list[Path]:
    found = []
    for place in places:
        inside = place.iterdir() if place.is_dir() and not place.is_symlink() else ()
        found += [path for path in (place, *inside) if path.is_symlink() and path.is_dir()]
    return sorted(found)


def _sorted(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda one: (one.age_s, str(one.path)))


def _item(*paths: Path, kind: str, in_use: bool = False) -> Item:
    inside = [
        one
        for path in paths
        for one in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ()))
    ]
    stats = list(_stats(inside))
    newest = max((one.st_mtime for one in stats), default=0.0)
    now = time.time()  # noqa: TID251 - files carry the wall clock's time
    size = sum(one.st_size for one in stats)
    return Item(paths[0], kind, size, max(0.0, now - newest), in_use, paths[1:])


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    """Yield what is known of each path; another process may remove some meanwhile."""
    for path in paths:
        with contextlib.suppress(OSError):
            yield path.lstat()


def chosen(items: Iterable[Item], *, older_s: float | None, above_bytes: int | None) -> list[Item]:
    """Return what may go.

    Args:
        items: newest first.
        older_s: everything last written longer ago.
        above_bytes: the oldest, until what is left is not larger.
    """
    found, kept_bytes = [], 0
    for item in items:
        old = older_s is not None and item.age_s > older_s
        large = above_bytes is not None and kept_bytes + item.size_bytes > above_bytes
        if (old or large) and not item.in_use:
            found.append(item)
        else:
            kept_bytes += item.size_bytes
    return found


def remove(item: Item) -> None:
    """Remove a sweep or an entry of the cache, unless a process has taken it up by now.

    Raises:
        UsageError: a process works in the sweep's folder or uses the entry, or a link has taken
            its place.
        OSError: it cannot be removed.
    """
    if item.path.is_symlink():
        raise UsageError(f"{item.path}: has become a link; it is left as it is")
    if item.kind == "sweep":
        with sweep_folder.Lock(item.path):
            shutil.rmtree(item.path)
        return
    paths = (item.path, *item.more)
    if _are_used(paths, uses.used(store.cache_folder())):
        raise UsageError(f"{item.path} is in use by a running command; try again when it has ended")
    for path in paths:
        files.remove(path)


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
        kinds.append(sweeps(Path(keys["outputs"])))
    if keys["what"] in {"all", "cache"}:
        kinds.append(caches())
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
    going = [one for items in kinds for one in chosen(items, older_s=older_s, above_bytes=above)]
    gone = [one for one in going if _goes(one, console, apply=apply)]
    total = size(sum(item.size_bytes for item in gone))
    done = "removed" if apply else "would go; apply=true removes them"
    console.say(f"{len(gone)} with {total} {done}")
    return ExitStatus.FINE


def _linked(keys: Mapping[str, str]) -> list[Path]:
    found = []
    if keys["what"] in {"all", "sweeps"}:
        found += linked_sweeps(Path(keys.get("outputs", "outputs")))
    if keys["what"] in {"all", "cache"}:
        found += linked_caches()
    return found


def _goes(item: Item, console: Console, *, apply: bool) -> bool:
    """Say that something goes, and let it go if that was asked for; return whether it could."""
    try:
        if apply:
            remove(item)
    except sweep_folder.LockFileError as error:
        console.say(f"skipped: {error}")
        return False
    console.say(f"{size(item.size_bytes):>11}  {item.kind:<15} {item.path}")
    return True
