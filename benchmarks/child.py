"""One contestant in a process of its own: thread pools of several runtimes disturb each other.

Requests and answers travel through a pipe, one at a time:

    prepare   Task          -> runtime, effective
    run       (warm, count) -> wall seconds, processor seconds: of `count` runs after `warm` others
    results   path          -> None; the outputs of one run lie in that .npz file
    close     None          -> resident bytes with all loaded; the process ends

An answer is (True, value) or (False, one line that says why not).
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import psutil

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from benchmarks.engines import Engine, Task


PATIENCE_S = 1800.0
"""So long an answer may take: a whole model compiled, or run, on a busy machine."""
END_S = 20.0
"""So long a process that was told to end may take."""


class ChildError(Exception):
    """A contestant cannot do what was asked, or its process ended; the text is one line."""


# --- inside ----------------------------------------------------------------------------------


class _Served:
    """Answers the requests; holds the engine."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def prepare(self, task: Task) -> dict[str, Any]:
        module, _, name = task.contestant.engine.partition(":")
        made: Engine = getattr(importlib.import_module(module), name)(task)
        self._engine = made
        effective = {stage: dict(one) for stage, one in made.effective.items()}
        return {"runtime": made.runtime, "effective": effective}

    def run(self, counts: tuple[int, int]) -> tuple[float, float]:
        warm, count = counts
        if warm:
            self._ready().run(warm)
        return self._ready().run(count)

    def results(self, path: str) -> None:
        np.savez(path, **self._ready().results())  # type: ignore[arg-type]

    def close(self, _: None) -> int:
        resident = psutil.Process().memory_info().rss
        if self._engine is not None:
            self._engine.close()
        return int(resident)

    def _ready(self) -> Engine:
        if self._engine is None:
            raise ChildError("prepare comes first")
        return self._engine


def _serve(pipe: Connection) -> None:
    """Answer until told to close, or until nobody asks any more."""
    # Ctrl-C reaches the whole process group; the parent ends its children itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What runtimes print must not get into the table.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    served, verb = _Served(), ""
    while verb != "close":
        try:
            verb, argument = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, getattr(served, verb)(argument))
        except Exception as error:  # noqa: BLE001 - becomes the reason in the table
            answer = (False, _line(error))
        pipe.send(answer)


def _line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return words or type(error).__name__


# --- outside ---------------------------------------------------------------------------------


class Child:
    """A process that runs one contestant.

    Args:
        task: what it is started for.

    Raises:
        ChildError: from every method, where the contestant cannot do it.
    """

    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        try:
            facts = self._ask("prepare", task)
        except BaseException:
            self.kill()
            raise
        self.runtime: str = facts["runtime"]
        self.effective: dict[str, dict[str, Any]] = facts["effective"]

    def run(self, count: int = 1, warm: int = 0) -> tuple[float, float]:
        """Return wall and processor seconds of `count` runs, after `warm` that do not count."""
        wall, cpu = self._ask("run", (warm, count))
        return float(wall), float(cpu)

    def results(self, path: Path) -> dict[str, Any]:
        """Return the outputs of one run; they pass through a file."""
        self._ask("results", str(path))
        with np.load(path) as arrays:
            found = dict(arrays)
        path.unlink()
        return found

    def close(self) -> int:
        """End the process; return what it held in memory, in bytes."""
        try:
            resident: int = self._ask("close", None)
            self._process.join(END_S)
        finally:
            self.kill()
        return resident

    def kill(self) -> None:
        """End the process whatever it does; may be called again."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, verb: str, argument: Any) -> Any:
        try:
            self._pipe.send((verb, argument))
            if not self._pipe.poll(PATIENCE_S):
                raise ChildError(f"no answer to {verb} within {PATIENCE_S:.0f} s")
            fine, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(END_S)
            raise ChildError(f"its process ended, status {self._process.exitcode}") from error
        if not fine:
            raise ChildError(value)
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
