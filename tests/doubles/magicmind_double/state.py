"""What a test sets (`Options`), and what it can look at afterwards: log, live objects, copies.

A process of its own is set up by two variables: MAGICMIND_DOUBLE holds options as JSON,
MAGICMIND_DOUBLE_LOG names a file that every call is appended to, one JSON object per line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

FIRST_ADDRESS = 1 << 32
ALIGNMENT = 256


class Options:
    """How the double behaves; the defaults are a card without a fault."""

    def __init__(self, **given: Any) -> None:
        self.devices = 1
        self.arch = "mtp_372"
        self.clusters = 8
        self.seed = 1234
        """onnxruntime's, set before each session."""
        self.fail: dict[str, int] = {}
        """call -> which of its calls fails, once, counted from 1."""
        self.fail_on: int | None = None
        """The only device whose calls fail; None: every one's."""
        self.hang = ""
        """The call that never returns; it leaves a child process behind."""
        self.crash = ""
        """The call that ends the interpreter."""
        self.keyword = True
        """Whether enqueue knows input_by_tensor_order."""
        self.reshape_in_place = True
        self.tensor_list = False
        """Whether the first output is a list of tensors."""
        self.enqueue_ns = 0
        self.sync_ns = 0
        self.frames: list[int] = []
        """Frame counts the decoder returns, in turn; empty: those of the model."""
        self.reject_keys: list[str] = []
        """Keys of the build configuration this release does not know."""
        self.refuse: dict[str, Any] = {}
        """Values of the build configuration, by dotted key, that make build_model fail."""
        self.wrong_python = False
        self.__dict__.update(given)


class State:
    """Everything one process knows."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.log: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        self.thread = threading.local()
        self.initialised_in: int | None = None
        self.destroyed = False
        self.objects: Any = weakref.WeakSet()
        self.memory: Any = weakref.WeakValueDictionary()
        self.views: list[Any] = []
        self.next_address = FIRST_ADDRESS
        self.next_frames = 0

    # The log

    def note(self, call: str, **details: Any) -> None:
        """Append to the log."""
        entry = {"call": call, "at_ns": time.perf_counter_ns(), "pid": os.getpid()}
        entry["thread"] = threading.get_ident()
        entry.update(details)
        self.log.append(entry)
        path = os.environ.get("MAGICMIND_DOUBLE_LOG")
        if path:
            with open(path, "a", encoding="utf-8") as stream:  # noqa: PTH123 - appended whole
                stream.write(json.dumps(entry) + "\n")

    def calls(self, *names: str) -> list[dict[str, Any]]:
        """Return the entries of the calls named, of all calls without a name."""
        return [entry for entry in self.log if not names or entry["call"] in names]

    def bytes(self, direction: str) -> int:
        """Return how many bytes were copied: `h2d` or `d2h`."""
        return sum(entry[direction] for entry in self.log if direction in entry)

    # What every call does first

    def enter(self, call: str, **details: Any) -> bool:
        """Log a call; return whether this is the one that fails.

        Raises:
            RuntimeError: the runtime is used where it must not be.
        """
        if self.initialised_in not in (None, os.getpid()):
            raise RuntimeError(call + ": the runtime was initialised by the parent of this fork")
        if self.destroyed:
            raise RuntimeError(call + ": used after destory")
        self.note(call, **details)
        if self.options.crash == call:
            os.abort()
        if self.options.hang == call:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            self.note("hang", child=child.pid)
            time.sleep(600)
        self.counts[call] = self.counts.get(call, 0) + 1
        if self.options.fail_on not in (None, self.device):
            return False
        return self.options.fail.get(call) == self.counts[call]

    # Devices and memory

    @property
    def device(self) -> int:
        """The device active in this thread; 0 where none was activated."""
        return getattr(self.thread, "device", 0)

    @property
    def has_device(self) -> bool:
        """Whether a device was activated in this thread."""
        return hasattr(self.thread, "device")

    def allocate(self, size: int) -> int:
        """Return an address for so many bytes."""
        address = self.next_address
        self.next_address += (size // ALIGNMENT + 2) * ALIGNMENT
        return address

    def alive(self) -> dict[str, int]:
        """Return how many objects of each kind are alive."""
        counts: dict[str, int] = {}
        for one in list(self.objects):
            kind = type(one).__name__
            counts[kind] = counts.get(kind, 0) + 1
        return counts


state = State(Options(**json.loads(os.environ.get("MAGICMIND_DOUBLE") or "{}")))


def reset(**options: Any) -> State:
    """Start anew with these options; objects of before count no more."""
    # Everybody holds this one object, so its content is what is new.
    state.__dict__.clear()
    state.__dict__.update(State(Options(**options)).__dict__)
    return state


class Tracked:
    """An object that counts as alive until its last reference is gone."""

    def __init__(self) -> None:
        state.objects.add(self)
