"""A device is held by one measuring process at a time, whichever sweep it belongs to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import regular
from harness.errors import UsageError
from harness.plain_text import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


FOLDER = "harness-devices"
VISIBLE = "MLU_VISIBLE_DEVICES"
POLL_S = 0.2


def names(device: Mapping[str, Any], numbers: Sequence[str]) -> list[str]:
    """Return what the machine calls the devices a worker sees under these numbers.

    Args:
        device: what the backend says of its device: `kind`, and `facts` that may tell of a virtual
            clock, under which nothing is disturbed and nothing needs holding.
        numbers: as asked for.
    """
    if (device.get("facts") or {}).get("virtual_clock"):
        return []
    visible = [one for one in os.environ.get(VISIBLE, "").split(",") if one]
    real = [
        visible[int(one)] if one.isdigit() and int(one) < len(visible) else one for one in numbers
    ]
    whole = (f"{device.get('kind', 'device')}-{one}".replace("/", "_") for one in real)
    return sorted(file_name(one, "device") for one in whole)


@contextlib.contextmanager
def hold(
    wanted: Sequence[str], waiting: Callable[[str], None], stopped: Callable[[], bool]
) -> Iterator[None]:
    """Wait until the devices are free, then hold them; the kernel frees what a dead holder held.

    Args:
        wanted: names, in the order all holders take them.
        waiting: told the name of the device that is waited for.
        stopped: says that the user wants to leave; then nothing is held.

    Raises:
        UsageError: see `check`.
    """
    with contextlib.ExitStack() as stack:
        for name in wanted:
            descriptor = _open(name)
            stack.callback(os.close, descriptor)
            while not stopped() and not _locked(descriptor):
                waiting(name)
                time.sleep(POLL_S)
        yield


def check(wanted: Sequence[str]) -> None:
    """Refuse devices that cannot be held, before anything is measured.

    Raises:
        UsageError: the shared folder or a lock in it is no folder or file that can be trusted.
    """
    for name in wanted:
        os.close(_open(name))


def _open(name: str) -> int:
    """Open the lock of a device; reading is enough to lock it, so nothing is ever written there.

    Raises:
        UsageError: what stands there is a link, a FIFO or the like, or cannot be opened.
    """
    place = Path(tempfile.gettempdir(), FOLDER)
    try:
        folder = _shared(place)
        try:
            with contextlib.suppress(PermissionError):
                return regular.open_file(place / name, os.O_RDONLY | os.O_CREAT, folder=folder)
            # Another user's, in a folder where only owners may be asked to make a file.
            return regular.open_file(place / name, os.O_RDONLY, folder=folder)
        finally:
            os.close(folder)
    except OSError as error:
        path = error.filename or place / name
        raise UsageError(
            f"{path if str(path).startswith('/') else place / name}: no device can be held there "
            f"({error.strerror}); delete it, or set TMPDIR to a folder of your own"
        ) from error


def _shared(place: Path) -> int:
    """Open the folder of all users' locks, made if it is not there."""
    with contextlib.suppress(FileExistsError):
        place.mkdir()
        folder = regular.open_shared_folder(place)
        with contextlib.suppress(OSError):
            os.fchmod(folder, 0o1777)  # every user of the machine takes part
        return folder
    return regular.open_shared_folder(place)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
