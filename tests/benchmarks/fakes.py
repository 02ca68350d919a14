"""Contestants that compute nothing: their process and its pipe are what is tested."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.engines import Task


HERE = "tests.benchmarks.fakes"
WALL_S, CPU_S = 0.5, 1.0
FATAL = 7
"""Status of a process that ends in the middle."""


class Fake:
    """Says how often it was asked; its options make it fail.

    Options: `broken` refuses to be made, `after` fails in that run (from 1), `dies` ends the
    process there instead, `off` is added to its results.
    """

    runtime = "fake 1.0"

    def __init__(self, task: Task) -> None:
        self._options = task.contestant.options
        if self._options.get("broken"):
            raise ValueError("it is\nbroken")
        self._task = task
        self._runs = 0
        self.effective = {"decoder_iter": {"compute": "float32", "verified": True}}

    def run(self, count: int) -> tuple[float, float]:
        self._runs += 1
        if self._runs == self._options.get("after"):
            if self._options.get("dies"):
                os._exit(FATAL)
            raise RuntimeError("no more")
        sys.stdout.write("what a runtime prints\n")
        return WALL_S * count, CPU_S * count

    def results(self) -> dict[str, Any]:
        self.run(1)
        return {"decoder_output": np.full(3, 1.0 + self._options.get("off", 0.0))}

    def close(self) -> None:
        pass
