"""The contract every backend must pass; plug-in authors run it in their own tests.

    class TestAcme(BackendContract):
        backend = "acme"
        options = {"lanes": 8}

        def plan(self, folder):
            return ...  # a plan of docs/protocol.md whose model files lie in `folder`

pytest collects the methods; nothing here imports it. Every promise is checked twice where it can
be: inside this process, and over the protocol with a worker of its own.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from typing import Any, ClassVar, Dict, List

from backends.base import QUANTS
from backends.worker import PROTOCOL, Worker

TIMEOUT_S = 300


class Answers:
    """Asks a `Worker` in this process as the protocol would."""

    def __init__(self) -> None:
        self.worker = Worker()
        self._number = 0

    def raw(self, verb: str, args: Dict[str, Any]) -> Dict[str, Any]:
        """Return the whole answer."""
        self._number += 1
        request = {"id": self._number, "verb": verb, "args": args}
        answer = self.worker.answer(json.dumps(request).encode("utf-8"))
        json.dumps(answer, allow_nan=False)
        _must(answer["id"] == self._number, f"{verb}: the answer carries another id")
        return answer

    def ask(self, verb: str, **args: Any) -> Dict[str, Any]:
        """Return the result.

        Raises:
            AssertionError: the answer is an error.
        """
        answer = self.raw(verb, args)
        _must(answer["ok"], f"{verb} failed: {answer.get('error')}")
        result: Dict[str, Any] = answer["result"]
        return result

    def error(self, verb: str, **args: Any) -> Dict[str, Any]:
        """Return the error of an answer that must be one."""
        answer = self.raw(verb, args)
        _must(not answer["ok"], f"{verb} was expected to fail")
        error: Dict[str, Any] = answer["error"]
        _must("\n" not in error["message"], "an error's message is one line")
        return error


def _must(condition: object, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


class BackendContract:
    """Subclass it, name the backend, and say which pipeline to run."""

    backend = ""
    options: ClassVar[Dict[str, Any]] = {}
    device = "0"
    quant = "force_float32"
    seed = 1234
    inputs: ClassVar[Dict[str, Any]] = {"sequences": [[5, 6, 7, 8, 9]], "sequence_lengths": [5]}
    outputs: ClassVar[List[str]] = ["mel_outputs_postnet", "mel_lengths_t"]

    def plan(self, folder: Any) -> Dict[str, Any]:
        """Return the plan to run; its model files may be written to `folder`."""
        raise NotImplementedError

    # Helpers

    def probed(self) -> Answers:
        """Return a worker after probe."""
        answers = Answers()
        answers.ask("probe", backend=self.backend, options=self.options, device=self.device)
        return answers

    def _steps(self, folder: Any) -> List[Any]:
        plan = self.plan(folder)
        return [plan, {"plan": plan, "quant": self.quant, "cache_dir": str(folder / "cache")}]

    def loaded(self, folder: Any) -> Answers:
        """Return a worker after load."""
        answers = self.probed()
        plan, request = self._steps(folder)
        compiled = answers.ask("compile", **request)["stages"]
        artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
        answers.ask("load", plan=plan, quant=self.quant, seed=self.seed, artefacts=artefacts)
        return answers

    def verified(self, answers: Answers) -> Dict[str, Any]:
        """Return the answer of the verify verb."""
        return answers.ask("verify", inputs=self.inputs, outputs=self.outputs, path=None)

    # What it says of itself

    def test_probe_answers_with_every_field(self) -> None:
        """Runtime, device, devices, effective options and precisions are all there."""
        answer = Answers().ask(
            "probe", backend=self.backend, options=self.options, device=self.device
        )
        _must(answer["backend"] == self.backend, "the answer names another backend")
        _must(answer["available"] or answer["reason"], "not available, and no reason")
        for key in ("runtime", "device", "devices", "options", "precisions"):
            _must(key in answer, f"the probe answer lacks {key}")
        _must(self.device in answer["devices"], "the device is not among the devices")
        for name, value in self.options.items():
            _must(answer["options"][name] == value, f"option {name} is not in effect")

    def test_every_precision_has_a_form_or_a_reason(self) -> None:
        """All six modes are answered for."""
        answer = Answers().ask(
            "probe", backend=self.backend, options=self.options, device=self.device
        )
        _must(set(answer["precisions"]) == set(QUANTS), "not exactly the six modes")
        for quant, found in answer["precisions"].items():
            _must(bool(found.get("form")) != bool(found.get("skipped")), f"{quant}: {found}")

    def test_unknown_option_is_a_usage_error(self) -> None:
        """It is named, and so are those there are."""
        error = Answers().error(
            "probe", backend=self.backend, options={"no_such_option": 1}, device=self.device
        )
        _must(error["kind"] == "usage", f"kind is {error['kind']}")
        _must("no_such_option" in error["message"], "the message does not name the option")

    def test_option_of_the_wrong_type_is_a_usage_error(self) -> None:
        """Every declared option refuses a list."""
        for option in self._described():
            error = Answers().error(
                "probe", backend=self.backend, options={option["name"]: []}, device=self.device
            )
            _must(error["kind"] == "usage", f"{option['name']}: kind is {error['kind']}")

    def _described(self) -> List[Dict[str, Any]]:
        for described in Answers().ask("describe")["backends"]:
            if described["name"] == self.backend and described["error"] is None:
                options: List[Dict[str, Any]] = described["options"]
                return options
        raise AssertionError(f"describe does not list {self.backend}")

    def test_unknown_device_is_a_usage_error(self) -> None:
        """A device that is not there is refused before anything is measured."""
        error = Answers().error("probe", backend=self.backend, options=self.options, device="999")
        _must(error["kind"] == "usage", f"kind is {error['kind']}")

    # What it does

    def test_effective_precision_is_stated_for_every_stage(self, tmp_path: Any) -> None:
        """Verified, or a reason why it cannot be."""
        answers = self.probed()
        plan, request = self._steps(tmp_path)
        compiled = answers.ask("compile", **request)["stages"]
        artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
        loaded = answers.ask(
            "load", plan=plan, quant=self.quant, seed=self.seed, artefacts=artefacts
        )
        for name, stage in loaded["stages"].items():
            effective = stage["effective"]
            _must(effective["requested"] == self.quant, f"{name}: requested is lost")
            for key in ("compute", "storage", "activations", "device", "provider", "source"):
                _must(effective.get(key), f"{name}: effective lacks {key}")
            _must(effective["verified"] or effective["reason"], f"{name}: no reason")
        answers.ask("close")

    def test_second_compile_gives_the_same_artefacts(self, tmp_path: Any) -> None:
        """The key depends on nothing but what is compiled."""
        answers = self.probed()
        _, request = self._steps(tmp_path)
        first = answers.ask("compile", **request)["stages"]
        second = answers.ask("compile", **request)["stages"]
        for name, stage in first.items():
            _must(second[name]["key"] == stage["key"], f"{name}: another key")
            _must(second[name]["artefact"] == stage["artefact"], f"{name}: another artefact")

    def test_spans_add_up_exactly(self, tmp_path: Any) -> None:
        """Latency = stages + glue + residual, in integers, in every iteration."""
        answers = self.loaded(tmp_path)
        self.verified(answers)
        answer = answers.ask("run", inputs=self.inputs, count=5, start=0)
        columns = answer["columns"]
        stages = list(answer["glue"])
        for name, column in list(columns.items()) + list(answer["work"].items()):
            _must(len(column) == answer["count"], f"{name} has another length")
            _must(all(type(number) is int for number in column), f"{name} is not integer")
        for index in range(answer["count"]):
            glue = sum(answer["glue"][name][index] for name in stages)
            _must(columns["glue_ns"][index] == glue, "glue_ns is not the sum of the stages'")
            whole = sum(columns[f"{name}_ns"][index] for name in stages)
            residual = columns["residual_ns"][index]
            _must(residual >= 0, "the residual is negative")
            _must(columns["latency_ns"][index] == whole + glue + residual, "spans do not add up")
        _must(columns["start_ns"] == sorted(columns["start_ns"]), "iterations out of order")
        answers.ask("close")

    def test_same_seed_gives_the_same_outputs_and_work(self, tmp_path: Any) -> None:
        """Two fresh workers agree on the first pass and on every iteration after it."""
        seen = []
        for _ in range(2):
            answers = self.loaded(tmp_path)
            first = self.verified(answers)
            ran = answers.ask("run", inputs=self.inputs, count=3, start=0)
            again = self.verified(answers)
            seen.append([first["outputs"], ran["work"], again["outputs"]])
            answers.ask("close")
        _must(seen[0] == seen[1], f"{seen[0]} is not {seen[1]}")

    def test_missing_output_is_a_failure(self, tmp_path: Any) -> None:
        """A name that the pipeline does not make is not passed over."""
        answers = self.loaded(tmp_path)
        error = answers.error("verify", inputs=self.inputs, outputs=["no_such_tensor"], path=None)
        _must(error["kind"] == "failed", f"kind is {error['kind']}")
        answers.ask("close")

    # How it ends

    def test_closing_twice_is_harmless(self, tmp_path: Any) -> None:
        """Stages and backend may be closed again."""
        answers = self.loaded(tmp_path)
        answers.ask("close")
        answers.worker.close()

    def test_close_leaves_no_thread_and_no_stage(self, tmp_path: Any) -> None:
        """What was loaded is gone after close."""
        from backends.base import Backend, CompiledStage

        def alive() -> int:
            gc.collect()
            kinds = (Backend, CompiledStage)
            # By type: some libraries' objects answer isinstance with a warning.
            return sum(issubclass(type(one), kinds) for one in gc.get_objects())

        threads, objects = threading.active_count(), alive()
        answers = self.loaded(tmp_path)
        self.verified(answers)
        answers.ask("run", inputs=self.inputs, count=2, start=0)
        answers.ask("close")
        del answers
        _must(threading.active_count() == threads, "threads are left")
        _must(alive() <= objects, "stages or backends are left")

    # The same over the protocol

    def test_worker_speaks_the_protocol_from_greeting_to_close(self, tmp_path: Any) -> None:
        """One process: probe, compile, load, verify, run, overhead, close, exit status 0."""
        plan, request = self._steps(tmp_path)
        talk = _Talk()
        try:
            greeting = talk.read()
            _must(greeting["hello"] == "backends.worker", "no greeting")
            _must(greeting["protocol"] == PROTOCOL, "another version of the protocol")
            talk.ask("probe", backend=self.backend, options=self.options, device=self.device)
            compiled = talk.ask("compile", **request)["stages"]
            artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
            talk.ask("load", plan=plan, quant=self.quant, seed=self.seed, artefacts=artefacts)
            talk.ask("verify", inputs=self.inputs, outputs=self.outputs, path=None)
            ran = talk.ask("run", inputs=self.inputs, count=2, start=0)
            _must(ran["count"] == len(ran["columns"]["latency_ns"]), "count and columns differ")
            _must(talk.ask("overhead", stages=4, count=10)["median_ns"] > 0, "no overhead at all")
            talk.ask("close")
            _must(talk.wait() == 0, "the exit status is not 0")
        finally:
            talk.kill()


class _Talk:
    """A worker process and the controller's end of its lines."""

    def __init__(self) -> None:
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backends.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def read(self) -> Dict[str, Any]:
        """Return the next line."""
        _must(self._process.stdout, "no standard output")
        line = self._process.stdout.readline() if self._process.stdout else b""
        _must(line, "the worker ended early")
        answer: Dict[str, Any] = json.loads(line.decode("ascii"))
        return answer

    def ask(self, verb: str, **args: Any) -> Dict[str, Any]:
        """Send a request; return its result."""
        self._number += 1
        request = json.dumps({"id": self._number, "verb": verb, "args": args})
        if self._process.stdin:
            self._process.stdin.write(request.encode("ascii") + b"\n")
            self._process.stdin.flush()
        answer = self.read()
        _must(answer["ok"], f"{verb} failed: {answer.get('error')}")
        result: Dict[str, Any] = answer["result"]
        return result

    def wait(self) -> int:
        """Return the exit status."""
        return self._process.wait(TIMEOUT_S)

    def kill(self) -> None:
        """End the process if it still lives, and let go of its pipes."""
        self._process.kill()
        self._process.wait(TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
