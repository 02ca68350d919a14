"""The artefact cache: files written whole, with their hashes beside them, and proved before use.

A record is a small JSON file that holds the hash of its own content. A sealed artefact is any
number of large files with a record that names them, their hashes, sizes and times. What does not
match is noted (`watch`) and made again by whoever needed it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

BLOCK_BYTES = 1 << 20
SEAL = "content_sha256"
"""The key of a record that holds the hash of all others."""
FILES = "files"
"""The key of a record that holds what its large files must be."""


class Watch:
    """What a process of the measured side has seen of the cache since it was last asked."""

    def __init__(self) -> None:
        self.thorough = True
        """Large files are hashed whole; otherwise only where size or times have changed."""
        self.notes: List[str] = []
        self.used: Dict[str, None] = {}

    def note(self, line: str) -> None:
        """Keep a line for the reader."""
        if line not in self.notes:
            self.notes.append(line)

    def use(self, path: str) -> None:
        """Keep the name of a file that is used."""
        self.used[path] = None


watch = Watch()


def key_of(facts: Any) -> str:
    """Return the hash of everything that decides an artefact, as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8")).hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


# Records


def read(path: str) -> Optional[Dict[str, Any]]:
    """Return a record's content, None when it is absent or damaged; the latter is noted."""
    try:
        content: Dict[str, Any] = json.loads(Path(path).read_bytes().decode("utf-8"))
        if content.pop(SEAL) == key_of(content):
            _mark_used(path)
            return content
        why = "does not match its hash"
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        why = "is not what was written"
    watch.note(f"{path} {why}: made again")
    return None


def write(path: str, content: Dict[str, Any]) -> None:
    """Write a record under a temporary name, then rename it."""
    partial = Path(f"{path}.{os.getpid()}")
    sealed = dict(content, **{SEAL: key_of(content)})
    try:
        partial.write_text(json.dumps(sealed, sort_keys=True), encoding="utf-8")
        put(partial, Path(path))
    finally:
        if partial.exists():
            partial.unlink()
    _mark_used(path)


def _mark_used(path: str) -> None:
    """Let the time of a record tell when it was last used, and name it to who asks."""
    watch.use(path)
    try:
        os.utime(path, None)
    except OSError:
        return  # another user's cache: read, not owned


# Large files


def put(made: Path, target: Path) -> None:
    """Rename a finished file, in place of what lies there: bytes reach the disk before the name."""
    sync(made)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(str(target))
    made.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def facts_of(paths: Sequence[Path]) -> Dict[str, Any]:
    """Return what proves files later: hash, size and times of each, by name."""
    return {path.name: dict(_times(path), sha256=sha256(path)) for path in paths}


def _times(path: Path) -> Dict[str, int]:
    state = path.stat()
    return {"bytes": state.st_size, "mtime_ns": state.st_mtime_ns, "ctime_ns": state.st_ctime_ns}


def proved(record: str, content: Dict[str, Any]) -> bool:
    """Return whether the files a record names are those that were written; note what is not.

    Hashing some hundred megabytes in every process would take longer than loading them. A file
    whose size and times are as recorded has not been written to since, so it is hashed only when
    that is asked for (`watch.thorough`), or when they differ; times that differ without reason,
    as in a copied cache, are then recorded anew.

    Args:
        record: the record's path; the files lie beside it.
        content: the record's content.
    """
    moved = False
    for name, known in content[FILES].items():
        path = Path(record).with_name(name)
        try:
            times = _times(path)
            same = all(known[key] == value for key, value in times.items())
            if (watch.thorough or not same) and known["sha256"] != sha256(path):
                watch.note(f"{path} does not match its hash: made again")
                return False
        except OSError as error:
            watch.note(f"{path} cannot be read ({error.strerror}): made again")
            return False
        if not same:
            known.update(times)
            moved = True
        watch.use(str(path))
    if moved:
        try:
            write(record, content)
        except OSError:
            return True  # a cache that can only be read: the files are right all the same
    return True
