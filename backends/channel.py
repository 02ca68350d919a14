"""The lines of the protocol, on file descriptors that no other code writes to by accident."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO, Dict, Optional

answers_fd: Optional[int] = None
"""Where the answers of this process go; a test backend writes rubbish there on purpose."""


class Channel:
    """One JSON object per line in each direction."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers

    def read(self) -> Optional[bytes]:
        """Return the next line, None at the end of input."""
        return self._requests.readline() or None

    def write(self, answer: Dict[str, Any]) -> None:
        """Send one answer at once."""
        line = json.dumps(answer, allow_nan=False, separators=(",", ":"))
        self._answers.write(line.encode("ascii") + b"\n")
        self._answers.flush()


def take_over() -> Channel:
    """Keep standard input and output for the protocol alone.

    Whatever prints to file descriptor 1 afterwards, a vendor's C++ included, ends up on standard
    error; whatever reads file descriptor 0 finds it empty.
    """
    global answers_fd  # noqa: PLW0603 - one process has one channel
    requests = os.dup(0)
    answers_fd = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Channel(os.fdopen(requests, "rb"), os.fdopen(answers_fd, "wb"))
