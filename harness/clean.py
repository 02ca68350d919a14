"""What of the files the harness made may go, by age or by size; nothing that others made."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import folder as folders
from harness import store
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CACHES = ("models", "forms", "compiled")


@dataclass(frozen=True)
class Item:
    """A sweep or an entry of the cache."""

    path: Path
    kind: str
    """`sweep`, or the cache it belongs to."""
    size_bytes: int
    age_s: float
    """Since anything in it was last written."""
    in_use: bool = False


def sweeps(outputs: Path) -> list[Item]:
    """Return the sweeps in `outputs`, newest first; what is no sweep of ours is not looked at."""
    there = [] if outputs.is_symlink() else folders.sweeps(outputs)
    found = (path for path in there if not path.is_symlink() and folders.facts(path))
    return _sorted(_item(path, "sweep", in_use=folders.is_held(path)) for path in found)


def caches() -> list[Item]:
    """Return the entries of the cache, newest first."""
    return _sorted(_cached(store.cache_folder()))


def _cached(root: Path) -> Iterator[Item]:
    for kind in CACHES:
        place = root / kind
        if place.is_dir() and not place.is_symlink() and not root.is_symlink():
            for path in place.iterdir():
                if not path.is_symlink():
                    yield _item(path, f"cache: {kind}")


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


def _item(path: Path, kind: str, *, in_use: bool = False) -> Item:
    inside = [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]
    stats = [one.lstat() for one in inside]
    newest = max(one.st_mtime for one in stats)
    now = time.time()  # noqa: TID251 - files carry the wall clock's time
    return Item(path, kind, sum(one.st_size for one in stats), max(0.0, now - newest), in_use)


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
    """Remove a sweep, unless a process has taken it up by now, or an entry of the cache.

    Raises:
        UsageError: a process works in the sweep's folder, or a link has taken its place.
        OSError: it cannot be removed.
    """
    if item.path.is_symlink():
        raise UsageError(f"{item.path}: has become a link; it is left as it is")
    if item.kind == "sweep":
        with folders.Lock(item.path):
            shutil.rmtree(item.path)
    elif item.path.is_dir():
        shutil.rmtree(item.path)
    else:
        item.path.unlink()
