"""The device's state around and during a process, seen from outside of the timed one.

Before and after its iterations a process's own worker is asked. During them a second worker asks
the vendor's tool every `measure.telemetry_s` seconds: the period and what each look costs stand
with the samples, for a tool that runs beside the measurement is part of the measurement.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from harness.errors import UsageError, WorkerError
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping


LOOK_TIMEOUT_S = 30.0
COLUMNS = ("at_ns", "cost_ns", "power_w", "temperature_c", "utilisation_pct", "clock_mhz")


def look(worker: WorkerProcess) -> dict[str, Any]:
    """Return the state of the device of a worker that has probed, or why it is not known."""
    try:
        return worker.ask("observe", LOOK_TIMEOUT_S)
    except UsageError as error:
        return {"reason": str(error)}


class Sampler:
    """Looks at a device at regular times from a process of its own; a context manager."""

    def __init__(
        self,
        interpreter: str | None,
        backend: str,
        options: Mapping[str, Any],
        device: str,
        period_s: float,
    ) -> None:
        self._period_s = period_s
        self._arguments = {"backend": backend, "options": dict(options), "device": device}
        self._ended = threading.Event()
        self._samples: list[dict[str, Any]] = []
        self._reason: str | None = None
        self._worker = WorkerProcess(interpreter)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        # A random phase, so that samples do not fall into step with what they sample.
        wait_s = random.random() * self._period_s  # noqa: S311 - a phase, not a secret
        while not self._ended.wait(wait_s):
            begun = time.monotonic()
            try:
                found = self._worker.ask("observe", LOOK_TIMEOUT_S, **self._arguments)
            except (WorkerError, UsageError) as error:
                self._reason = str(error)
                return
            if found.get("at_ns") is None:
                self._reason = found.get("reason") or "no time in the answer"
                return
            self._reason = found.get("reason") or self._reason
            self._samples.append(found)
            wait_s = max(0.0, self._period_s - (time.monotonic() - begun))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._worker.close()

    def record(self) -> dict[str, Any]:
        """Return the samples as columns, the period asked for, and why there are none."""
        return {
            "period_s": self._period_s,
            "columns": {name: [one.get(name) for one in self._samples] for name in COLUMNS},
            "reason": self._reason,
        }
