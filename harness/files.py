"""Files written whole, and files that can tell whether they still are what was written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Note = Callable[[bytes], None]


BLOCK_BYTES = 1 << 22
SEAL = "content_sha256"
"""The key of a sealed file that holds the hash of all others."""


class DamagedError(Exception):
    """A file of ours is not what was written; its text says which and why."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a file so that it appears whole or not at all.

    Raises:
        FileExistsError: it exists and `replace` is not set.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def put(made: Path, target: Path) -> None:
    """Move a finished file or folder to where it is looked for, in place of what lies there.

    Its bytes are on the disk before its name is: after a power cut it is there whole or not at all.
    """
    for path in (*(made.rglob("*") if made.is_dir() else ()), made):
        sync(path)
    if made.is_dir() or target.is_dir():
        remove(target)
    made.replace(target)
    sync(target.parent)


def remove(path: Path) -> None:
    """Remove whatever has this name, a folder with all that is in it; nothing is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Mark a file as used now."""
    with contextlib.suppress(OSError):
        os.utime(path)


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as JSON beside its own hash; what had the name before is replaced.

    Raises:
        OSError: it cannot be written.
    """
    if path.is_dir():
        remove(path)
    sealed = {**content, SEAL: _hash(content)}
    write_whole(path, (json.dumps(sealed, indent=1, sort_keys=True) + "\n").encode(), replace=True)


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return the object in a sealed file, None when there is no such file.

    Raises:
        DamagedError: it is not what was written.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        if content.pop(SEAL) == _hash(content):
            return content
        why = "does not match its hash"
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        why = "is not what was written"
    raise DamagedError(f"{path} {why}")


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def finite(value: Any) -> Any:
    """Return a value with every NaN and infinity, which JSON cannot hold, replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value


# --- writing ---------------------------------------------------------------------------------


def drop_leavings(folder: Path) -> None:
    """Remove what a killed writer left unfinished in a folder that nobody else writes to now."""
    for left in folder.glob(".*.tmp"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def pretty(value: Any) -> bytes:
    """Return a value as one line of JSON; what JSON cannot hold is null."""
    value = finite(value)
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
