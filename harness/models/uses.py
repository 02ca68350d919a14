"""What of the cache running commands use, so that nobody removes it under them.

Each process keeps a list of its own, locked for as long as it lives; the kernel drops the lock when
it dies, however it dies, and the next reader drops the list.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


FOLDER = "uses"


class Uses:
    """The list of this process; made when the first use is noted."""

    def __init__(self) -> None:
        self._lists: dict[Path, int] = {}
        self._noted: set[tuple[Path, str]] = set()

    def note(self, cache: Path, paths: Iterable[Path | str]) -> None:
        """Note files or folders of a cache as used until this process ends.

        A cache that cannot be written to loses nothing by it but this protection.
        """
        new = [one for one in map(os.path.abspath, paths) if (cache, one) not in self._noted]
        if not new:
            return
        with contextlib.suppress(OSError):
            text = "".join(f"{one}\n" for one in new).encode("utf-8", "surrogateescape")
            os.write(self._list(cache), text)
            self._noted.update((cache, one) for one in new)

    def _list(self, cache: Path) -> int:
        key = cache / FOLDER / f"{os.getpid()}"
        while key not in self._lists:
            used(cache)  # lists of dead processes go
            key.parent.mkdir(parents=True, exist_ok=True)
            path = key.with_name(f"{key.name}-{secrets.token_hex(4)}")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A reader between making and locking took it for a dead process's.
            if path.exists():
                self._lists[key] = descriptor
            else:
                os.close(descriptor)
        return self._lists[key]


mine = Uses()
"""Of this process."""


def used(cache: Path) -> set[Path]:
    """Return what running processes use of a cache; lists of dead ones are removed."""
    found: set[Path] = set()
    with contextlib.suppress(OSError):
        for path in (cache / FOLDER).iterdir():
            found |= _listed(path)
    return found


def _listed(path: Path) -> set[Path]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return set()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        return {Path(line) for line in text.splitlines()}
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        path.unlink()
    return set()
