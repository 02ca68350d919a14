from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.backends.small_pipeline import INPUTS, OUTPUTS, ROOT, Session, plan, request, talk


def fake_requests(**options: object) -> list[dict[str, object]]:
    described = plan()
    artefacts = {stage["name"]: "" for stage in described["stages"]}
    quant = "force_float32"
    return [
        request("probe", 1, backend="fake", options=options),
        request("load", 2, plan=described, quant=quant, seed=1, artefacts=artefacts),
        request("verify", 3, inputs=INPUTS, outputs=OUTPUTS),
        request("run", 4, inputs=INPUTS, count=3, start=0),
    ]


def kinds(session: Session) -> list[str]:
    return ["ok" if one["ok"] else one["error"]["kind"] for one in session.answers]


def test_greeting_comes_before_anything_is_read() -> None:
    session = talk()
    assert session.greeting["hello"] == "backends.worker"
    assert session.greeting["protocol"] == 1
    assert session.greeting["implementation"] == "CPython"
    assert session.status == 0


def test_end_of_input_is_a_clean_end() -> None:
    session = talk(*fake_requests())
    assert kinds(session) == ["ok"] * 4
    assert session.status == 0
    assert session.log == ""


def test_line_that_is_no_json_is_answered_without_an_id() -> None:
    session = talk("{this is not json", b"\xff\xfe", "[1, 2]", '{"id": 9}', request("close", 5))
    assert kinds(session) == ["protocol"] * 4 + ["ok"]
    assert [one["id"] for one in session.answers] == [None, None, None, None, 5]


def test_last_line_without_an_end_is_still_answered() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "backends.worker"],
        input=b'{"id": 1, "verb":',
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(ended.stdout.splitlines()[-1])["error"]["kind"] == "protocol"


def test_unknown_verb_is_a_protocol_error_that_lists_the_verbs() -> None:
    (answer,) = talk(request("dance", 7)).answers
    assert answer["id"] == 7
    assert answer["error"]["kind"] == "protocol"
    assert (
        "describe, probe, compile, load, verify, run, overhead, observe, examine, close"
        in (answer["error"]["message"])
    )


def test_verbs_out_of_order_are_protocol_errors_and_the_worker_lives_on() -> None:
    probe, load, verify, run = fake_requests()
    session = talk(load, verify, run, probe, probe, run, load, load, verify, run)
    expected = ["protocol"] * 3 + ["ok", "protocol", "protocol", "ok", "protocol", "ok", "ok"]
    assert kinds(session) == expected


def test_failed_load_can_be_tried_again() -> None:
    probe, load, _, run = fake_requests()
    wrong = json.loads(json.dumps(load))
    wrong["args"]["plan"]["stages"][2]["glue"][0]["args"]["tensor"] = "melody"
    session = talk(probe, wrong, load, run)
    assert kinds(session) == ["ok", "usage", "ok", "ok"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "'backend' is missing"),
        ({"backend": 3}, "'backend' must be of type str"),
        ({"backend": "fake", "options": []}, "'options' must be of type dict"),
        (
            {"backend": "fkae"},
            "onnxruntime, openvino, reading; did you mean 'fake'",
        ),
        ({"backend": "fake", "options": {"noize": 1}}, "fake has no option 'noize'"),
        ({"backend": "fake", "options": {"noise": "a"}}, "a value of type float is needed"),
        ({"backend": "fake", "options": {"noise": -1}}, "must be at least 0"),
        ({"backend": "fake", "options": {"fail": "often"}}, "choose one of"),
        ({"backend": "fake", "options": {"durations": "encoder=1"}}, "write name:ns"),
        ({"backend": "fake", "device": "1"}, "no device '1'; there are: 0"),
    ],
)
def test_wrong_probe_is_a_usage_error_in_one_line(args: dict[str, object], message: str) -> None:
    (answer,) = talk({"id": 1, "verb": "probe", "args": args}).answers
    assert answer["error"]["kind"] == "usage"
    assert message in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]
    assert "Traceback" in answer["error"]["detail"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "the pipeline takes the inputs sequences, sequence_lengths; found: none"),
        ({**INPUTS, "more": [1]}, "found: more, sequence_lengths, sequences"),
        ({"sequences": [[1, 2], [3]], "sequence_lengths": [2, 1]}, "rows of one length"),
        ({"sequences": [[1, 2]], "sequence_lengths": [2, 2]}, "has batch=2, another has 1"),
    ],
)
def test_wrong_inputs_are_usage_errors(inputs: dict[str, object], message: str) -> None:
    probe, load, _, _ = fake_requests()
    session = talk(probe, load, request("run", 4, inputs=inputs, count=1))
    assert session.answers[-1]["error"]["kind"] == "usage"
    assert message in session.answers[-1]["error"]["message"]


@pytest.mark.parametrize("count", [0, -1, True, 1.5])
def test_count_must_be_a_positive_integer(count: object) -> None:
    probe, load, _, _ = fake_requests()
    session = talk(probe, load, request("run", 4, inputs=INPUTS, count=count))
    assert session.answers[-1]["error"]["kind"] == "usage"


def test_what_a_vendor_prints_to_standard_output_goes_to_the_log() -> None:
    session = talk(*fake_requests(fail="noise", fail_at=1))
    assert kinds(session) == ["ok"] * 4
    assert session.log.count("vendor says: load") == 4
    assert "vendor says: encoder, iteration 1" in session.log
    assert "and again: encoder, iteration 1" in session.log


def test_failure_inside_an_iteration_is_one_answer_and_the_worker_lives_on() -> None:
    requests = fake_requests(fail="run", fail_at=1, fail_stage="postnet")
    session = talk(*requests, request("run", 5, inputs=INPUTS, count=1, start=0))
    assert kinds(session) == ["ok", "ok", "ok", "failed", "ok"]
    assert session.answers[3]["error"]["message"] == "scripted: postnet, iteration 1"


@pytest.mark.parametrize(
    ("fail", "status"), [("exit", 3), ("segv", -11)], ids=["it exits", "it is killed"]
)
def test_worker_that_dies_leaves_no_half_answer(fail: str, status: int) -> None:
    session = talk(*fake_requests(fail=fail, fail_at=1))
    assert kinds(session) == ["ok"] * 3
    assert session.status == status


def test_garbage_on_the_protocol_can_be_scripted() -> None:
    sent = "\n".join(json.dumps(one) for one in fake_requests(fail="garbage", fail_at=1))
    ended = subprocess.run(
        [sys.executable, "-m", "backends.worker"],
        input=sent.encode(),
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    assert b"this is no JSON\n" in ended.stdout


def test_scripted_probe_failure_makes_the_backend_unavailable_with_a_reason() -> None:
    probe, load, _, _ = fake_requests(fail="probe")
    session = talk(probe, load)
    assert session.answers[0]["result"]["available"] is False
    assert session.answers[0]["result"]["reason"] == "scripted: no device answers"
    assert session.answers[1]["error"]["kind"] == "unsupported"


def test_unsupported_quant_is_skipped_with_its_reason() -> None:
    probe, load, _, _ = fake_requests(unsupported="force_float32")
    session = talk(probe, load)
    assert "force_float32 is not supported" in session.answers[1]["error"]["message"]
    assert session.answers[1]["error"]["kind"] == "unsupported"


def test_unknown_quant_lists_the_modes() -> None:
    probe, load, _, _ = fake_requests()
    load["args"]["quant"] = "foo"  # type: ignore[index]
    error = talk(probe, load).answers[1]["error"]
    assert error["kind"] == "usage"
    assert "qint16_mixed_float16" in error["message"]


def test_plan_without_a_key_is_a_usage_error() -> None:
    probe, load, _, _ = fake_requests()
    del load["args"]["plan"]["stages"][0]["glue"]  # type: ignore[index]
    error = talk(probe, load).answers[1]["error"]
    assert error["kind"] == "usage"
    assert error["message"] == "the plan lacks the key 'glue'"


def older_pythons() -> list[str]:
    """Interpreters other than this one that start: pypy3, then Python 3.7 to 3.10."""
    found = []
    for name in ("pypy3", "python3.7", "python3.8", "python3.9", "python3.10"):
        path = shutil.which(name)
        if path is None:
            continue
        started = subprocess.run([path, "-c", ""], capture_output=True, check=False)
        if started.returncode == 0:
            found.append(path)
    return found


def test_older_interpreter_drives_the_fake_backend() -> None:
    pythons = older_pythons()
    if not pythons:
        pytest.skip("no pypy3 and no Python 3.7 to 3.10 on PATH")
    here = talk(*fake_requests(noise=0.0))
    for python in pythons:
        there = talk(*fake_requests(noise=0.0), python=python)
        assert there.status == 0, there.log
        assert kinds(there) == ["ok"] * 4, there.answers
        assert there.greeting["python"] != here.greeting["python"]
        for name in ("columns", "work"):
            assert there.answers[3]["result"][name] == here.answers[3]["result"][name]


def test_fake_backend_needs_the_standard_library_only() -> None:
    code = (
        "import sys, json, io; from backends.worker import Worker; w = Worker();"
        "[w.answer(line.encode()) for line in sys.stdin];"
        "sys.exit(any(name.split('.')[0] in ('numpy', 'onnxruntime', 'onnx') "
        "for name in sys.modules))"
    )
    sent = "\n".join(json.dumps(one) for one in fake_requests())
    subprocess.run([sys.executable, "-c", code], input=sent.encode(), check=True, cwd=ROOT)
