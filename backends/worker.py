"""The measured end of the protocol of docs/protocol.md: `python -m backends.worker`."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

from backends import cache, channel, processor, registry
from backends import pipeline as plan
from backends.base import QUANTS, Backend, CompiledStage
from backends.errors import BackendError, OptionError, ProtocolError, UnsupportedError
from backends.timing import counters, executor, overhead

PROTOCOL = 1

EPOCH_NS = time.perf_counter_ns()
"""`start_ns` counts from here."""


def greeting() -> Dict[str, Any]:
    """Return the first line: who answers, and by which version of the protocol."""
    return {
        "hello": "backends.worker",
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "pid": os.getpid(),
        "epoch_ns": EPOCH_NS,
    }


class Worker:
    """Answers requests; holds the one backend and the one pipeline of this process."""

    def __init__(self) -> None:
        self.closed = False
        self._backend: Optional[Backend] = None
        self._unavailable: Optional[str] = None
        self._stages: Dict[str, CompiledStage] = {}
        self._executor: Optional[executor.Executor] = None
        self._verbs: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
            "describe": self._describe,
            "probe": self._probe,
            "compile": self._compile,
            "load": self._load,
            "verify": self._verify,
            "run": self._run,
            "overhead": self._overhead,
            "observe": self._observe,
            "examine": self._examine,
            "close": self._close,
        }

    def answer(self, line: bytes) -> Dict[str, Any]:
        """Return the answer to one line; no exception leaves."""
        number = None
        try:
            number, verb, args = _request(line)
            return {"id": number, "ok": True, "result": self._verb(verb)(args)}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - mapped to a kind, never lost
            return {"id": number, "ok": False, "error": _error(error)}

    def _verb(self, name: str) -> Callable[[Dict[str, Any]], Dict[str, Any]]:
        if name not in self._verbs:
            raise ProtocolError(f"no verb {name!r}; there are: {', '.join(self._verbs)}")
        return self._verbs[name]

    # Verbs

    def _describe(self, args: Dict[str, Any]) -> Dict[str, Any]:
        return {"backends": registry.describe()}

    def _probe(self, args: Dict[str, Any]) -> Dict[str, Any]:
        if self._backend is not None:
            raise ProtocolError("probe came before: one backend for the life of a process")
        backend = self._named(args)
        answer: Dict[str, Any] = {"backend": args["backend"]}
        answer.update(backend.probe())
        answer["options"] = backend.settings
        answer["precisions"] = backend.precisions()
        self._unavailable = None if answer["available"] else answer["reason"]
        self._backend = backend
        return answer

    def _compile(self, args: Dict[str, Any]) -> Dict[str, Any]:
        backend = self._ready("compile")
        quant = self._quant(backend, args)
        cache_dir = _get(args, "cache_dir", str)
        try:
            Path(cache_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cache_dir {cache_dir}: {error.strerror}") from error
        backend.calibration = _get(args, "calibration", list, [])
        backend.expected = _get(args, "expected", dict, {})
        backend.patience_s = float(args.get("patience_s", backend.patience_s))
        watch = cache.watch
        watch.thorough = bool(args.get("thorough", True))
        try:
            compiled = backend.compile(plan.parse(_get(args, "plan", dict)), quant, cache_dir)
        except OSError as error:
            raise BackendError(
                f"{error.filename or cache_dir}: the compiled form cannot be kept "
                f"({error.strerror}); make room, or set XDG_CACHE_HOME to another folder"
            ) from error
        notes, watch.notes = watch.notes, []
        return {
            "notes": notes,
            "files": sorted(watch.used),
            "stages": {
                name: {
                    "artefact": artefact.path,
                    "cached": artefact.cached,
                    "compile_ns": artefact.compile_ns,
                    "key": artefact.key,
                }
                for name, artefact in compiled.items()
            },
        }

    def _load(self, args: Dict[str, Any]) -> Dict[str, Any]:
        backend = self._ready("load")
        quant = self._quant(backend, args)
        seed = _get(args, "seed", int)
        artefacts = _get(args, "artefacts", dict)
        pipeline = plan.parse(_get(args, "plan", dict))
        absent = [stage.name for stage in pipeline.stages if stage.name not in artefacts]
        if absent:
            raise OptionError(f"no artefact for {', '.join(absent)}")
        loaded = {}
        try:
            for stage in pipeline.stages:
                begin = time.perf_counter_ns()
                compiled = backend.load(stage, quant, artefacts[stage.name], seed)
                self._stages[stage.name] = compiled
                load_ns = time.perf_counter_ns() - begin
                loaded[stage.name] = {"load_ns": load_ns, "effective": compiled.effective()}
            epoch_ns = EPOCH_NS if backend.clock is None else 0
            self._executor = executor.Executor(pipeline, self._stages, backend, seed, epoch_ns)
        except BaseException:
            self._close_stages()
            raise
        return {"stages": loaded, "threads": processor.threads()}

    def _verify(self, args: Dict[str, Any]) -> Dict[str, Any]:
        backend, runner = self._loaded("verify")
        names = _get(args, "outputs", list)
        path = args.get("path")
        runner.set_inputs(_get(args, "inputs", dict))
        try:
            answer = runner.once()
            handles = {name: runner.handle(name) for name in names}
            if path is not None:
                backend.save(path, handles)
            answer["outputs"] = {name: backend.summary(handle) for name, handle in handles.items()}
        finally:
            runner.release()
        return answer

    def _run(self, args: Dict[str, Any]) -> Dict[str, Any]:
        _, runner = self._loaded("run")
        count, start = _get(args, "count", int), _get(args, "start", int, 0)
        every = _get(args, "collect_every", int, executor.COLLECT_EVERY)
        if count < 1 or start < 0 or every < 1:
            raise OptionError(
                f"run: count={count} and collect_every={every} must be at least 1, "
                f"start={start} at least 0"
            )
        schedule = args.get("schedule_ns")
        if schedule is not None and (
            len(schedule) != count or not all(isinstance(one, int) for one in schedule)
        ):
            raise OptionError(f"run: schedule_ns must be {count} integers, one per iteration")
        runner.set_inputs(_get(args, "inputs", dict))
        return runner.run(count, start, every, schedule=schedule)

    def _overhead(self, args: Dict[str, Any]) -> Dict[str, Any]:
        stages, count = _get(args, "stages", int), _get(args, "count", int)
        if stages < 1 or count < 1:
            raise OptionError(f"overhead: stages={stages} and count={count} must be at least 1")
        return overhead.overhead(stages, count)

    def _observe(self, args: Dict[str, Any]) -> Dict[str, Any]:
        return (self._backend or self._named(args)).observe()

    def _examine(self, args: Dict[str, Any]) -> Dict[str, Any]:
        if self._backend is not None:
            raise ProtocolError("examine after probe: it looks at a fresh process")
        backend = self._named(args)
        try:
            return {"findings": backend.examine()}
        finally:
            backend.close()

    @staticmethod
    def _named(args: Dict[str, Any]) -> Backend:
        options = _get(args, "options", dict, {})
        device = _get(args, "device", str, "0")
        backend = registry.find(_get(args, "backend", str))(options, device)
        backend.beside = _get(args, "beside", list, [])
        if backend.beside and device not in backend.beside:
            raise OptionError(f"device {device!r} is not among those measured: {backend.beside}")
        return backend

    def _close(self, args: Dict[str, Any]) -> Dict[str, Any]:
        self.close()
        return {"peak_rss_bytes": counters.peak_rss_bytes()}

    # State

    def _ready(self, verb: str) -> Backend:
        if self._backend is None:
            raise ProtocolError(f"{verb} before probe")
        if self._executor is not None:
            raise ProtocolError(f"{verb} after load: one pipeline for the life of a process")
        if self._unavailable is not None:
            raise UnsupportedError(self._unavailable)
        return self._backend

    def _loaded(self, verb: str) -> Tuple[Backend, executor.Executor]:
        if self._backend is None or self._executor is None:
            raise ProtocolError(f"{verb} before load")
        return self._backend, self._executor

    def _quant(self, backend: Backend, args: Dict[str, Any]) -> str:
        quant: str = _get(args, "quant", str)
        if quant not in QUANTS:
            raise OptionError(f"quant={quant}: choose one of {', '.join(QUANTS)}")
        skipped = backend.precisions()[quant].get("skipped")
        if skipped:
            raise UnsupportedError(f"{backend.name} cannot do {quant}: {skipped}")
        return quant

    def _close_stages(self) -> None:
        stages, self._stages = self._stages, {}
        for stage in reversed(list(stages.values())):
            stage.close()

    def close(self) -> None:
        """Close stages, then the backend; may be called again."""
        self.closed = True
        if self._executor is not None:
            self._executor.close()
            self._executor = None
        self._close_stages()
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()


def _request(line: bytes) -> Tuple[Any, str, Dict[str, Any]]:
    try:
        request = json.loads(line.decode("utf-8"))
    except ValueError as error:
        raise ProtocolError(f"a line is not JSON: {error}") from error
    if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
        raise ProtocolError('a request is an object such as {"id": 1, "verb": "probe", "args": {}}')
    args = request.get("args", {})
    if not isinstance(args, dict):
        raise ProtocolError("args is an object")
    return request.get("id"), request["verb"], args


_REQUIRED = object()


def _get(args: Dict[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    value = args.get(name, default)
    if value is _REQUIRED:
        raise OptionError(f"the argument {name!r} is missing")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise OptionError(f"the argument {name!r} must be of type {kind.__name__}")
    return value


def _error(error: BaseException) -> Dict[str, Any]:
    """Return kind, one line for the reader, and the traceback."""
    first = str(error).strip().splitlines()[:1]
    message = first[0].strip() if first else type(error).__name__
    if isinstance(error, BackendError):
        kind = error.kind
    else:
        kind = BackendError.kind
        message = f"{type(error).__name__}: {message}" if first else message
    detail = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"kind": kind, "message": message, "detail": detail}


def serve(lines: channel.Channel) -> None:
    """Greet, then answer line by line until close or the end of input."""
    worker = Worker()
    lines.write(greeting())
    while not worker.closed:
        line = lines.read()
        if line is None:
            break
        if line.strip() and not _send(lines, worker.answer(line)):
            break
    worker.close()


def _send(lines: channel.Channel, answer: Dict[str, Any]) -> bool:
    """Send an answer; return False when nobody reads any more."""
    try:
        lines.write(answer)
    except BrokenPipeError:
        return False
    except (TypeError, ValueError) as error:
        # A backend put something into its answer that JSON has no word for.
        lines.write({"id": answer["id"], "ok": False, "error": _error(error)})
    return True


def main() -> int:
    """Serve the controller on standard input and output."""
    # Ctrl-C reaches the whole process group; whether to stop is for the controller to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(channel.take_over())
    return 0


if __name__ == "__main__":
    sys.exit(main())
