"""The control end of the worker protocol (docs/protocol.md): start, ask, time out, kill."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.errors import UsageError, WorkerCrashError, WorkerError, WorkerTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping


PROTOCOL = 1
GREETING_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 20.0
CHUNK_BYTES = 1 << 16
LONGEST_ANSWER_BYTES = 1 << 28
LAST_WORDS_BYTES = 1 << 12


def backends_folder() -> Path:
    """Return the folder of the measured side, beside harness/ in a checkout and in a wheel."""
    return Path(__file__).resolve().parents[2] / "backends"


def command(interpreter: str | None) -> list[str]:
    """Return the command that starts a worker.

    Args:
        interpreter: an interpreter or a command prefix such as `docker exec -i box python3.7`;
            None for the running interpreter.
    """
    prefix = shlex.split(interpreter) if interpreter else [sys.executable]
    return [*prefix, str(backends_folder() / "boot.py")]


class WorkerProcess:
    """One process of the measured side; a context manager that leaves nothing running."""

    def __init__(
        self,
        interpreter: str | None = None,
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the process and check its greeting.

        Args:
            interpreter: see `command`.
            log: file that everything the worker prints is appended to.
            environment: variables to set beside this process's own.

        Raises:
            UsageError: the interpreter cannot be started, or speaks another protocol version.
            WorkerError: the process greeted wrongly, too late, or died.
        """
        self._buffer = b""
        self._last_id = 0
        self.deadline: float | None = None
        """On the monotonic clock: no answer is waited for beyond it, whatever a request allows."""
        self._log = log
        self._log_start = 0
        started = time.monotonic_ns()
        try:
            with contextlib.ExitStack() as stack:
                errors: Any = subprocess.DEVNULL
                if log is not None:
                    errors = stack.enter_context(log.open("ab"))
                    self._log_start = errors.tell()
                self._process = subprocess.Popen(
                    command(interpreter),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, **(environment or {})},
                    # Ctrl-C is for the controller, which lets the worker finish its iteration;
                    # a group of its own lets a hung worker be killed with its children.
                    start_new_session=True,
                )
        except OSError as error:
            raise UsageError(
                f"backend.python={interpreter}: cannot be started ({error.strerror}); "
                "name an interpreter or a command that starts one"
            ) from error
        self.greeting = self._greeting(interpreter)
        self.start_ns = time.monotonic_ns() - started

    def _greeting(self, interpreter: str | None) -> dict[str, Any]:
        try:
            greeting = self._answer(GREETING_TIMEOUT_S, "the greeting")
        except WorkerError:
            self.kill()
            raise
        if greeting.get("protocol") != PROTOCOL:
            self.kill()
            raise UsageError(
                f"the worker started by {interpreter or sys.executable} speaks protocol "
                f"{greeting.get('protocol')}, this harness {PROTOCOL}: use the same version of both"
            )
        return greeting

    @property
    def pid(self) -> int:
        """The process id on this machine."""
        return self._process.pid

    def ask(self, verb: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its answer, asleep.

        Raises:
            UsageError: the worker calls an argument wrong.
            WorkerTimeoutError: no answer in time; the worker has been killed.
            WorkerCrashError: the process ended instead of answering.
            WorkerError: the worker answered with an error, or with something else.
        """
        self._last_id += 1
        request = {"id": self._last_id, "verb": verb, "args": arguments}
        stdin = self._process.stdin
        if stdin is None:
            raise WorkerCrashError("the worker has no standard input")
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise self._crash(verb) from error
        answer = self._answer(timeout_s, verb)
        if answer.get("id") != self._last_id:
            self.kill()
            raise WorkerError(f"{verb}: the worker answered another request", kind="protocol")
        if answer.get("ok"):
            result: dict[str, Any] = answer["result"]
            return result
        error_data = answer.get("error") or {}
        message = str(error_data.get("message", "no message"))
        kind = str(error_data.get("kind", "failed"))
        if kind == "usage":
            raise UsageError(message)
        raise WorkerError(message, kind=kind)

    def _answer(self, timeout_s: float, what: str) -> dict[str, Any]:
        begun = time.monotonic()
        if self.deadline is not None:
            timeout_s = max(0.0, min(timeout_s, self.deadline - begun))
        line = self._line(begun + timeout_s, timeout_s, what)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.kill()
            shown = line[:60].decode(errors="replace")
            raise WorkerError(
                f"{what}: the worker wrote {shown!r} where an answer was due", kind="protocol"
            )
        return answer

    def _line(self, deadline: float, timeout_s: float, what: str) -> bytes:
        if self._process.stdout is None:
            raise WorkerCrashError("the worker has no standard output")
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                self.kill()
                raise WorkerTimeoutError(f"{what}: no answer within {timeout_s:.3g} s; killed")
            chunk = os.read(descriptor, CHUNK_BYTES)
            if not chunk:
                raise self._crash(what)
            self._buffer += chunk
            if len(self._buffer) > LONGEST_ANSWER_BYTES:
                self.kill()
                raise WorkerError(f"{what}: the worker floods its output", kind="protocol")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _crash(self, what: str) -> WorkerCrashError:
        code = self._process.wait(CLOSE_TIMEOUT_S)
        self.kill()
        how = f"exit status {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = f"signal {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += " (the system does that when memory runs out)"
        last = self._last_words()
        return WorkerCrashError(f"{what}: the worker ended with {how}{last}")

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        try:
            with self._log.open("rb") as stream:
                end = stream.seek(0, os.SEEK_END)
                stream.seek(max(self._log_start, end - LAST_WORDS_BYTES))
                text = stream.read().decode(errors="replace").strip()
        except OSError:
            return ""
        lines = [line for line in text.splitlines() if not line.startswith("# ")]  # our heading
        return f"; its last words: {lines[-1].strip()[:200]}" if lines else ""

    def close(self) -> dict[str, Any]:
        """End the process in good order; return its closing facts, empty if it had to be killed."""
        facts: dict[str, Any] = {}
        if self._process.poll() is None:
            with contextlib.suppress(WorkerError, UsageError):
                facts = self.ask("close", CLOSE_TIMEOUT_S)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_TIMEOUT_S)
        self.kill()
        return facts

    def kill(self) -> None:
        """End the process and whatever it started, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:
            self.kill()  # the user wants to leave now
