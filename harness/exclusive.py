"""A device is held by one measuring process at a time, whichever sweep it belongs to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    return sorted(f"{device.get('kind', 'device')}-{one}".replace("/", "_") for one in real)


@contextlib.contextmanager
def hold(
    wanted: Sequence[str], waiting: Callable[[str], None], stopped: Callable[[], bool]
) -> Iterator[None]:
    """Wait until the devices are free, then hold them; the kernel frees what a dead holder held.

    Args:
        wanted: names, in the order all holders take them.
        waiting: told the name of the device that is waited for.
        stopped: says that the user wants to leave; then nothing is held.
    """
    with contextlib.ExitStack() as stack:
        for name in wanted:
            descriptor = _open(name)
            stack.callback(os.close, descriptor)
            while not stopped() and not _locked(descriptor):
                waiting(name)
                time.sleep(POLL_S)
        yield


def _open(name: str) -> int:
    folder = Path(tempfile.gettempdir(), FOLDER)
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            folder.chmod(0o1777)  # every user of the machine takes part
    path = folder / name
    with contextlib.suppress(PermissionError):
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    return os.open(path, os.O_RDONLY)  # another user's: to lock it, reading is enough


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
