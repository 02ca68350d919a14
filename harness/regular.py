"""Regular files and real folders only: no link is followed and no FIFO waited for.

For files that others may have put there: in a folder every user shares, or in a sweep's folder that
came from somebody else.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

SAFELY = os.O_NONBLOCK | os.O_CLOEXEC
"""A FIFO nobody writes to opens at once instead of never."""
KINDS = (
    (stat.S_ISLNK, "is a link"),
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a FIFO"),
    (stat.S_ISSOCK, "is a socket"),
)


class NotRegularError(OSError):
    """What stands at a path is not the regular file, or the real folder, that it must be.

    `strerror` says what it is, as the end of a sentence.
    """


def kind(mode: int) -> str:
    """Return what a file is by its mode, when it is no regular one."""
    return next((text for test, text in KINDS if test(mode)), "is a device")


def _refused(path: Path, text: str, number: int = errno.EINVAL) -> NotRegularError:
    return NotRegularError(number, text, str(path))


def open_file(
    path: Path, flags: int, *, mode: int = 0o644, folder: int | None = None, follow: bool = False
) -> int:
    """Open a regular file and return its descriptor.

    Args:
        path: of the file; only its name counts when `folder` is given.
        flags: as for os.open.
        mode: of a file that is made.
        folder: descriptor of the folder the name is looked up in.
        follow: a link to a regular file will do, which is right for reading only.

    Raises:
        NotRegularError: it is a link, a folder, a FIFO, a device, or, where it is to be written,
            known by several names (a hard link).
        OSError: as os.open.
    """
    flags |= SAFELY | (0 if follow else os.O_NOFOLLOW)
    name = path if folder is None else path.name
    try:
        descriptor = os.open(name, flags, mode, dir_fd=folder)
    except OSError as error:
        wrong = {errno.ELOOP: "is a link", errno.EISDIR: "is a folder", errno.ENXIO: "is no file"}
        if error.errno in wrong:
            raise _refused(path, wrong[error.errno], error.errno) from error
        raise
    found = os.fstat(descriptor)
    wrote = flags & os.O_ACCMODE != os.O_RDONLY
    problem = ""
    if not stat.S_ISREG(found.st_mode):
        problem = kind(found.st_mode)
    elif wrote and found.st_nlink > 1:
        problem = "is a hard link: other names lead to the same file"
    if problem:
        os.close(descriptor)
        raise _refused(path, problem)
    return descriptor


def read(path: Path) -> bytes:
    """Return the bytes of a regular file, reached through a link or not.

    Raises:
        OSError: it cannot be read; NotRegularError: it is no file.
    """
    with os.fdopen(open_file(path, os.O_RDONLY, follow=True), "rb") as stream:
        return stream.read()


def open_shared_folder(path: Path) -> int:
    """Open a folder that other users write to as well; return its descriptor.

    Raises:
        NotRegularError: it is a link or no folder, or its owner could exchange its files: it is
            neither root's nor this user's, and its files may be renamed by others (not sticky).
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | SAFELY)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise _refused(path, f"{kind(path.lstat().st_mode)}, not a folder") from error
        raise
    found = os.fstat(descriptor)
    if found.st_uid not in {0, os.geteuid()} and not found.st_mode & stat.S_ISVTX:
        os.close(descriptor)
        raise _refused(path, f"belongs to user {found.st_uid} and is not sticky")
    return descriptor


def first_strange(folder: Path, *, but: str = "") -> Path | None:
    """Return the first thing below a folder that is neither a regular file nor a real folder.

    Args:
        folder: is looked into, and all real folders below it.
        but: name of one real folder in it whose content is not looked at.
    """
    for place, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return path
        if but in folders and Path(place) == folder:
            folders.remove(but)
    return None
