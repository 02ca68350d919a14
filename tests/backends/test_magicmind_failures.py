"""Every way the SDK can say no becomes one clear reason, and nothing is left behind."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from harness.errors import UsageError, WorkerCrashError, WorkerError, WorkerTimeoutError
from harness.workers.worker import WorkerProcess
from tests.backends import mlu
from tests.backends.mlu import Life

if TYPE_CHECKING:
    from pathlib import Path


STATUS_AT_PROBE = ("initialize", "active")
REFUSED_BUILDS = ("parse", "set_dimension", "parse_from_string", "build_model")
REFUSED_CALIBRATION = ("set_quantization_algorithm", "calibrate")
AT_LOAD = (
    "deserialize_from_file",
    "create_i_engine",
    "create_i_context",
    "create_queue",
    "create_inputs",
)
AT_RUN = ("from_numpy", "enqueue", "sync", "asnumpy", "Tensor")


def ended_well(state: Any, life: Life) -> None:
    """The worker closes, and nothing outlives it."""
    life.answers.worker.close()
    (ended,) = state.calls("destroyed")
    assert ended["alive"] == {}
    assert len(state.calls("destory")) == 1


@pytest.mark.parametrize("call", STATUS_AT_PROBE)
def test_a_failure_at_probe_is_its_reason(magicmind_double: Any, tmp_path: Path, call: str) -> None:
    magicmind_double.options.fail = {call: 1}
    life = Life(tmp_path)
    error = life.answers.error("probe", backend="magicmind", options=life.options, device="0")
    assert error["kind"] == "failed"
    assert f"injected failure of {call}" in error["message"]
    ended_well(magicmind_double, life)


@pytest.mark.parametrize("call", REFUSED_BUILDS)
def test_a_refused_build_is_skipped_with_the_sdks_text(
    magicmind_double: Any, tmp_path: Path, call: str
) -> None:
    magicmind_double.options.fail = {call: 1}
    life = Life(tmp_path, fusion=False)
    life.probe()
    error = life.answers.error("compile", **life.request())
    assert error["kind"] == "unsupported"
    assert error["message"].startswith("encoder cannot be built as force_float32")
    assert "injected failure" in error["message"]
    assert call in error["message"] or call == "parse_from_string"
    # Once is once: the same request goes through now.
    assert life.answers.ask("compile", **life.request())
    ended_well(magicmind_double, life)


@pytest.mark.parametrize("call", REFUSED_CALIBRATION)
def test_a_refused_calibration_is_skipped_with_the_sdks_text(
    magicmind_double: Any, tmp_path: Path, call: str
) -> None:
    magicmind_double.options.fail = {call: 1}
    life = Life(tmp_path, quant="qint8_mixed_float16")
    life.probe()
    error = life.answers.error("compile", **life.request(), calibration=mlu.CALIBRATION)
    assert error["kind"] == "unsupported"
    assert f"injected failure of {call}" in error["message"]
    ended_well(magicmind_double, life)


def test_a_model_that_cannot_be_written_is_a_failure(magicmind_double: Any, tmp_path: Path) -> None:
    magicmind_double.options.fail = {"serialize_to_file": 1}
    life = Life(tmp_path)
    life.probe()
    error = life.answers.error("compile", **life.request())
    assert error["kind"] == "failed"
    assert "injected failure of serialize_to_file" in error["message"]
    assert not list((tmp_path / "compiled").glob("*.mm*"))
    ended_well(magicmind_double, life)


@pytest.mark.parametrize("call", AT_LOAD)
def test_a_failure_at_load_names_the_call(magicmind_double: Any, tmp_path: Path, call: str) -> None:
    life = Life(tmp_path)
    artefacts = {name: stage["artefact"] for name, stage in life.compile().items()}
    magicmind_double.options.fail = {call: 1}
    request = {"plan": life.plan, "quant": life.quant, "seed": 1, "artefacts": artefacts}
    error = life.answers.error("load", **request)
    assert error["kind"] == "failed"
    assert call in error["message"]
    ended_well(magicmind_double, life)


@pytest.mark.parametrize("call", AT_RUN)
def test_a_failure_in_an_iteration_names_the_call(
    magicmind_double: Any, tmp_path: Path, call: str
) -> None:
    life = Life(tmp_path)
    life.load()
    magicmind_double.counts.clear()
    magicmind_double.options.fail = {call: 1}
    error = life.answers.error("run", inputs=mlu.inputs(), count=1, start=0)
    assert error["kind"] == "failed"
    assert error["message"].startswith("MagicMind: ")
    assert call in error["message"]
    # The worker lives on.
    assert life.run(1)["count"] == 1
    ended_well(magicmind_double, life)


def test_fusion_is_tried_without_when_the_build_fails_with_it(
    magicmind_double: Any, tmp_path: Path
) -> None:
    magicmind_double.options.refuse = {"debug_config.fusion_enable": True}
    life = Life(tmp_path)
    loaded = life.load()
    for stage in loaded.values():
        build = stage["effective"]["build"]
        assert build["fusion"] == "off: the build failed with it"
        assert build["config"]["debug_config"]["fusion_enable"] is False
    builds = magicmind_double.calls("build_model")
    tried = [one["config"]["debug_config"]["fusion_enable"] for one in builds]
    assert tried == [True, False] * len(mlu.STAGES)
    life.close()


def test_an_optional_key_that_is_not_known_is_left_out_and_noted(
    magicmind_double: Any, tmp_path: Path
) -> None:
    magicmind_double.options.reject_keys = ["opt_config.conv_scale_fold"]
    life = Life(tmp_path)
    for stage in life.load().values():
        rejected = stage["effective"]["build"]["rejected"]
        assert "unknown key opt_config.conv_scale_fold" in rejected["opt_config.conv_scale_fold"]
        assert "conv_scale_fold" not in stage["effective"]["build"]["config"]["opt_config"]
    life.close()


@pytest.mark.parametrize(
    "key", ["archs", "dim_range", "graph_shape_mutable", "opt_config.type64to32_conversion"]
)
def test_a_key_that_is_needed_and_not_known_is_a_refused_build(
    magicmind_double: Any, tmp_path: Path, key: str
) -> None:
    magicmind_double.options.reject_keys = [key]
    life = Life(tmp_path)
    life.probe()
    error = life.answers.error("compile", **life.request())
    assert error["kind"] == "unsupported"
    assert f"unknown key {key}" in error["message"]
    ended_well(magicmind_double, life)


def test_too_many_clusters_for_the_card_name_the_call(
    magicmind_double: Any, tmp_path: Path
) -> None:
    magicmind_double.options.clusters = 4
    life = Life(tmp_path, clusters="6,8")
    artefacts = {name: stage["artefact"] for name, stage in life.compile().items()}
    request = {"plan": life.plan, "quant": life.quant, "seed": 1, "artefacts": artefacts}
    assert "create_i_engine returned None" in life.answers.error("load", **request)["message"]
    ended_well(magicmind_double, life)


@pytest.mark.parametrize("device", ["7", "x", "-1"])
def test_a_device_that_is_not_there_is_a_usage_error(
    magicmind_double: Any, tmp_path: Path, device: str
) -> None:
    life = Life(tmp_path)
    error = life.answers.error("probe", backend="magicmind", options=life.options, device=device)
    assert error["kind"] == "usage"
    assert device in error["message"]
    if device == "7":
        ended_well(magicmind_double, life)
    else:
        assert not magicmind_double.log  # refused before the runtime was started


def test_no_card_is_a_reason_that_names_the_variable(
    magicmind_double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    magicmind_double.options.devices = 0
    monkeypatch.setenv("MLU_VISIBLE_DEVICES", "9")
    life = Life(tmp_path)
    probe = life.probe()
    assert not probe["available"]
    assert "MLU_VISIBLE_DEVICES=9" in probe["reason"]
    life.close()


def test_without_the_sdk_the_reason_names_the_interpreter(tmp_path: Path) -> None:
    assert "magicmind" not in sys.modules
    probe = Life(tmp_path).probe()
    assert not probe["available"]
    assert "backend.python=" in probe["reason"]
    assert "3.7" in probe["reason"]


# --- in a process of its own -----------------------------------------------------------------


def requests(life: Life) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("probe", {"backend": "magicmind", "options": life.options, "device": "0"}),
        ("compile", life.request()),
    ]


def loaded(worker: WorkerProcess, life: Life) -> None:
    answers = [worker.ask(verb, 60, **arguments) for verb, arguments in requests(life)]
    artefacts = {name: stage["artefact"] for name, stage in answers[1]["stages"].items()}
    worker.ask("load", 60, plan=life.plan, quant=life.quant, seed=1, artefacts=artefacts)


def calls(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    return [json.loads(one) for one in lines]


@pytest.mark.usefixtures("magicmind_double")
def test_a_hang_in_enqueue_is_killed_with_its_children(tmp_path: Path) -> None:
    life = Life(tmp_path)
    double = {"MAGICMIND_DOUBLE": json.dumps({"hang": "enqueue"})}
    with WorkerProcess(environment=double) as worker:
        loaded(worker, life)
        with pytest.raises(WorkerTimeoutError, match="run: no answer within 2 s; killed"):
            worker.ask("run", 2, inputs=mlu.inputs(), count=1, start=0)
        (hang,) = [one for one in calls(tmp_path) if one["call"] == "hang"]
        gone, left = psutil.wait_procs(
            [psutil.Process(pid) for pid in (hang["child"], hang["pid"]) if psutil.pid_exists(pid)],
            timeout=10,
        )
        assert not [one for one in left if one.status() != psutil.STATUS_ZOMBIE]
        del gone


@pytest.mark.usefixtures("magicmind_double")
def test_a_crash_of_the_interpreter_names_its_signal(tmp_path: Path) -> None:
    life = Life(tmp_path)
    double = {"MAGICMIND_DOUBLE": json.dumps({"crash": "sync"})}
    with WorkerProcess(environment=double) as worker:
        loaded(worker, life)
        with pytest.raises(WorkerCrashError, match=signal.SIGABRT.name):
            worker.ask("run", 60, inputs=mlu.inputs(), count=1, start=0)


@pytest.mark.usefixtures("magicmind_double")
def test_the_sdk_on_the_wrong_python_is_a_reason(tmp_path: Path) -> None:
    life = Life(tmp_path)
    double = {"MAGICMIND_DOUBLE": json.dumps({"wrong_python": True})}
    with WorkerProcess(environment=double) as worker:
        verb, arguments = requests(life)[0]
        probe = worker.ask(verb, 60, **arguments)
        assert not probe["available"]
        assert "undefined symbol" in probe["reason"]
        assert "its wheels are for Python 3.7" in probe["reason"]
        with pytest.raises(WorkerError) as caught:
            worker.ask("compile", 60, **life.request())
        assert caught.value.kind == "unsupported"


def test_another_version_of_the_protocol_is_a_usage_error(tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text(
        "import json, sys\n"
        'print(json.dumps({"hello": "backends.worker", "protocol": 0, "python": "3.7.5",'
        ' "implementation": "CPython", "pid": 1}), flush=True)\n'
        "sys.stdin.read()\n"
    )
    with pytest.raises(UsageError, match="speaks protocol 0"):
        WorkerProcess(f"{sys.executable} {script}")


@pytest.mark.usefixtures("magicmind_double")
def test_use_after_a_fork_fails_loudly(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.load()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child() -> None:
        answer = life.answers.raw("run", {"inputs": mlu.inputs(), "count": 1, "start": 0})
        queue.put(answer)

    process = context.Process(target=child)
    process.start()
    process.join(60)
    answer = queue.get()
    assert not answer["ok"]
    assert "fork" in answer["error"]["message"]
    life.close()
