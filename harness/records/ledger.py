"""What this user's own sweeps wrote: the SHA-256 of every result and `sweep.json`, kept apart.

A file that is known here was written by this harness for this user and has not changed since. It
is noted before it appears, so a sweep killed at any moment knows all that it left behind. One file
for each sweep, one line for each file of it, in the user's state folder; a copy or a renamed folder
is known as well, because only content counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from harness import regular

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence


SCHEMA = {"name": "harness.records.ledger", "major": 1}
PRIVATE = 0o700
OTHERS_WRITE = 0o022


def home() -> Path:
    """Return the folder of the ledger."""
    return platformdirs.user_state_path("harness", appauthor=False) / "ledger"


def digest(content: bytes) -> str:
    """Return the SHA-256 by which a file is known."""
    return hashlib.sha256(content).hexdigest()


def identity(command: str) -> str:
    """Return what tells a command that starts a worker from a later one of the same words.

    That is the path its program has now, and the SHA-256 of each file among its words.

    Raises:
        OSError: such a file cannot be read.
        ValueError: the words cannot be told apart.
    """
    words = shlex.split(command)
    program = shutil.which(words[0]) if words else None
    files = [] if program is None else [Path(program).absolute()]
    files += [Path(word).absolute() for word in words[1:] if Path(word).is_file()]
    return " ".join(f"{path} {digest(regular.read(path))}" for path in files)


class Ledger:
    """Notes the files of one sweep as they are written."""

    def __init__(
        self, sweep: Path, interpreters: Sequence[str], notify: Callable[[str], None]
    ) -> None:
        """Prepare to note; nothing is written before the first file is.

        Args:
            sweep: the sweep's folder, for a person who reads the ledger.
            interpreters: the commands that start its workers, where they are not the running one.
            notify: told once when the ledger cannot be kept.
        """
        self._sweep = sweep
        self._interpreters = interpreters
        self._notify = notify
        self._path: Path | None = None
        self._broken = False

    def note(self, content: bytes) -> None:
        """Note the content of a file that is about to be written. A full disk ends no sweep."""
        if self._broken:
            return
        try:
            if self._path is None:
                self._path = self._begin()
            self._append(self._path, {"sha256": digest(content)}, os.O_APPEND)
        except OSError as error:
            self._broken = True
            self._notify(
                f"{home()}: the ledger of your own sweeps cannot be kept "
                f"({error.strerror or error}); {self._sweep} will count as somebody else's"
            )

    def _begin(self) -> Path:
        place = home()
        place.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        problem = distrust(place)
        if problem:
            raise regular.NotRegularError(0, problem, str(place))
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        path = place / f"{stamp}-{secrets.token_hex(8)}.jsonl"
        head = {
            "schema": SCHEMA,
            "sweep": str(self._sweep.absolute()),
            "interpreters": {one: _identity(one) for one in self._interpreters},
        }
        self._append(path, head, os.O_CREAT | os.O_EXCL)
        return path

    @staticmethod
    def _append(path: Path, line: dict[str, Any], flags: int) -> None:
        descriptor = regular.open_file(path, os.O_WRONLY | flags, mode=0o600)
        try:
            os.write(descriptor, (json.dumps(line) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _identity(command: str) -> str | None:
    try:
        return identity(command)
    except (OSError, ValueError):
        return None


def distrust(place: Path) -> str | None:
    """Return why a ledger in this folder says nothing; None when only this user wrote it.

    A ledger that is not there says nothing either, and needs no reason.
    """
    try:
        found = place.lstat()
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISDIR(found.st_mode):
        return f"{place} {regular.kind(found.st_mode)}"
    if found.st_uid != os.geteuid():
        return f"{place} belongs to another user"
    return f"{place} can be written by others" if found.st_mode & OTHERS_WRITE else None


def known(digests: Collection[str]) -> dict[str, list[dict[str, str | None]]]:
    """Return, for each file that this user's sweeps wrote, the interpreters of those sweeps.

    Args:
        digests: of the files asked about.

    Returns:
        By digest, for each sweep that wrote it: command -> identity. Unknown ones are left out.
    """
    found: dict[str, list[dict[str, str | None]]] = {}
    if distrust(home()):
        return found
    for path in home().glob("*.jsonl"):
        lines = _lines(path)
        interpreters = next(lines, {}).get("interpreters")
        if isinstance(interpreters, dict):
            for line in lines:
                if line.get("sha256") in digests:
                    found.setdefault(line["sha256"], []).append(interpreters)
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of one sweep's ledger; one cut off by a crash is of a file never written."""
    try:
        descriptor = regular.open_file(path, os.O_RDONLY)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line
