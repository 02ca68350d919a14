"""The folder of one sweep: made once, held by one process at a time, known when left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import secrets
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness import regular
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


SWEEP_FILE = "sweep.json"
LOCK_FILE = ".lock"
SCHEMA = {"name": "harness.sweep", "major": 1, "minor": 0}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LockFileError(UsageError):
    """What stands where a folder's lock belongs is no file of ours."""


def create(outputs: Path) -> Path:
    """Return a new folder of its own for a sweep, even when two start in the same second.

    Raises:
        UsageError: it cannot be made.
    """
    while True:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = outputs / f"{stamp}-{secrets.token_hex(3)}"
        try:
            outputs.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if outputs.is_dir():
                continue
            raise UsageError(f"outputs={outputs}: is a file; name a folder") from None
        except OSError as error:
            raise UsageError(
                f"outputs={outputs}: cannot be written ({error.strerror}); name another folder"
            ) from error
        return folder


def facts(folder: Path) -> dict[str, Any]:
    """Return what `sweep.json` says; empty when it is missing, unreadable or not ours."""
    try:
        found = json.loads(regular.read(folder / SWEEP_FILE))
    except (OSError, ValueError):
        return {}
    schema = found.get("schema") if isinstance(found, dict) else None
    ours = isinstance(schema, dict) and schema.get("name") == SCHEMA["name"]
    return found if ours else {}


def sweeps(outputs: Path) -> list[Path]:
    """Return the folders of sweeps in `outputs`, oldest first."""
    with contextlib.suppress(OSError):
        return sorted(path.parent for path in outputs.glob(f"*/{SWEEP_FILE}"))
    return []


def _process_facts(pid: int) -> dict[str, Any] | None:
    """Return what tells a process from a later one of the same number; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The name in parentheses may hold anything; state is the first field after it, the start
    # in clock ticks the twentieth.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else {"pid": pid, "ticks": fields[19], "boot": boot}


class Lock:
    """Holds a sweep's folder while it is written to; a context manager.

    The kernel drops the lock when its holder dies, however it dies. What such a holder wrote into
    the file tells the next one that it did not end in good order, and which worker it left running.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_FILE
        self.left_behind: dict[str, Any] | None = None
        """The holder that died without releasing the folder, once the lock is held."""
        self._descriptor = -1
        self._holder: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            UsageError: another process works in the folder, or it cannot be written.
            LockFileError: the lock is a link, a FIFO or the like; what it leads to is as it was.
        """
        try:
            self._descriptor = self._open()
        except regular.NotRegularError as error:
            raise LockFileError(
                f"{self.path} {error.strerror}, and a lock must be a file of its own; delete it, "
                "then run the same command again"
            ) from error
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written ({error.strerror})") from error
        left = _read(self._descriptor)
        # A lock that another user wrote names no process that may be ended here.
        mine = os.fstat(self._descriptor).st_uid == os.geteuid()
        if left and left.get("host") != platform.node():
            os.close(self._descriptor)
            raise UsageError(
                f"{self.path.parent} is in use by {_named(left)}, which cannot be seen from here; "
                f"if that process has ended, delete {self.path}"
            )
        self.left_behind = left or None
        if left and mine:
            _end(left.get("worker"))
        self._holder = {
            "host": platform.node(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "worker": None,
        }
        self._write()
        return self

    def _open(self) -> int:
        while True:
            descriptor = regular.open_file(self.path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = _read(descriptor)
                os.close(descriptor)
                raise UsageError(
                    f"{self.path.parent} is in use by {_named(holder)}; wait for it, or leave "
                    "resume out to measure into a folder of its own"
                ) from error
            # The last holder may have removed the file between our open and our lock.
            with contextlib.suppress(FileNotFoundError):
                if self.path.lstat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            os.close(descriptor)

    def worker(self, pid: int) -> None:
        """Note the worker now running, so that a successor can end it."""
        self._holder["worker"] = _process_facts(pid)
        self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the lock itself needs no byte
            text = json.dumps(self._holder).encode()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self._descriptor)


def is_held(folder: Path) -> bool:
    """Return whether a process on this machine works in a sweep's folder now.

    What is no lock of ours holds nothing; taking it is what fails.
    """
    try:
        descriptor = regular.open_file(folder / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_left_behind(folder: Path) -> bool:
    """Return whether a sweep's folder still has the lock of a session, dead unless it is held."""
    return os.path.lexists(folder / LOCK_FILE)


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 1 << 16, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(holder: Mapping[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"


def _end(worker: Any) -> None:
    """End the worker of a dead controller and its children, unless it has ended by itself."""
    pid = worker.get("pid") if isinstance(worker, dict) else None
    # A group of 0 would be our own, of 1 everybody's.
    if isinstance(pid, int) and pid > 1 and _process_facts(pid) == worker:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
