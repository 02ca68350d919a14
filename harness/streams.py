"""Standard output and error that outlive their reader: no closed pipe or full disk ends work."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


OUT, ERR = 1, 2
GONE = (errno.EPIPE, errno.EBADF)
"""Nobody reads any more, which is the reader's own choice and needs no words."""


class _Lasting(io.FileIO):
    """Writes to a descriptor; from the first failure on, to nowhere.

    The descriptor itself is turned, so that what is still in a buffer, what the interpreter writes
    on its way out and what child processes write goes the same way.
    """

    def write(self, content: ReadableBuffer, /) -> int:
        data = memoryview(content).cast("B")
        try:
            written = super().write(data)
            while written is None:  # a pipe that does not wait, and is full just now
                select.select([], [self.fileno()], [])
                written = super().write(data)
        except OSError as error:
            self._give_up(error)
            return len(data)
        return written

    def _give_up(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if self.fileno() == OUT and error.errno not in GONE:
            sys.stderr.write(
                f"harness: standard output cannot be written ({error.strerror}): its rest is lost; "
                "files and exit status are as ever\n"
            )


def make_lasting() -> None:
    """Make this process's standard streams outlive whoever reads them.

    Descriptors that were closed from the start lead nowhere from now on: a file opened later would
    take their number, and receive what is printed.
    """
    for descriptor in (0, OUT, ERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for name, descriptor in (("stdout", OUT), ("stderr", ERR)):
        stream, first = getattr(sys, name), getattr(sys, f"__{name}__")
        if stream is not first:
            continue  # somebody listens in this process
        if stream is not None:
            stream.flush()
        raw = _Lasting(descriptor, "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=getattr(stream, "encoding", "utf-8"),
            errors=getattr(stream, "errors", "backslashreplace"),
            line_buffering=name == "stderr" or raw.isatty(),
        )
        setattr(sys, name, text)
