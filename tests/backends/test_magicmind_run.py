"""What the MagicMind backend does on the double, by the double's log of calls."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backends.magicmind.stage import MagicMindStage
from backends.testing import Answers
from tests.backends import mlu
from tests.backends.mlu import FRAMES, STAGES, STEPS, Life

if TYPE_CHECKING:
    from pathlib import Path


COPIES = ("from_numpy", "memcpy_from_host", "asnumpy", "to")


def marked(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write into the log where each stage's span begins and ends."""
    timed = MagicMindStage.run

    def run(self: MagicMindStage, tensors: Any) -> Any:
        state.note("span begins", stage=self._name)
        made = timed(self, tensors)
        state.note("span ends", stage=self._name)
        return made

    monkeypatch.setattr(MagicMindStage, "run", run)


def spans(state: Any) -> list[list[str]]:
    """The calls inside each span, in order."""
    found: list[list[str]] = []
    inside = False
    for entry in state.log:
        if entry["call"] == "span begins":
            found.append([])
            inside = True
        elif entry["call"] == "span ends":
            inside = False
        elif inside:
            found[-1].append(entry["call"])
    return found


def test_a_span_is_one_enqueue_and_one_sync_and_no_copy(
    magicmind_double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked(magicmind_double, monkeypatch)
    mlu.whole(tmp_path)
    found = spans(magicmind_double)
    assert len(found) == 3 * len(STAGES)  # the verification pass and two iterations
    assert found == [["enqueue", "sync"]] * len(found)
    assert len(magicmind_double.calls("sync")) == len(found)


def test_with_sync_end_an_iteration_has_one_sync(
    magicmind_double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    magicmind_double.options.frames = [STEPS]
    marked(magicmind_double, monkeypatch)
    life = Life(tmp_path, sync="end")
    life.load()
    before = len(magicmind_double.calls("sync"))
    answer = life.run(3)
    life.close()
    assert len(magicmind_double.calls("sync")) - before == 3
    assert spans(magicmind_double) == [["enqueue"]] * 3 * len(STAGES)
    assert answer["work"]["mel_frames_valid"] == [STEPS] * 3


def test_with_sync_end_nothing_is_copied_until_the_sync(
    magicmind_double: Any, tmp_path: Path
) -> None:
    magicmind_double.options.frames = [STEPS]
    life = Life(tmp_path, sync="end")
    life.load()
    del magicmind_double.log[:]
    life.run(1)
    calls = [entry["call"] for entry in magicmind_double.log]
    assert "asnumpy" not in calls[: calls.index("sync")]


def test_with_sync_end_frames_that_had_to_be_cut_are_a_failure(
    magicmind_double: Any,  # noqa: ARG001 - in place
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, sync="end")
    life.load()
    error = life.answers.error("run", inputs=mlu.inputs(), count=1, start=0)
    assert error["kind"] == "failed"
    assert "backend.sync=stage" in error["message"]
    life.close()


def test_tensors_stay_on_the_card_between_stages(magicmind_double: Any, tmp_path: Path) -> None:
    magicmind_double.options.frames = [STEPS]
    life = Life(tmp_path)
    life.load()
    del magicmind_double.log[:]
    life.run(1, **mlu.inputs(batch=2))
    log = magicmind_double.log
    enqueued = {entry["model"]: at for at, entry in enumerate(log) if entry["call"] == "enqueue"}

    def copied(first: str, last: str, direction: str) -> int:
        between = log[enqueued[first] : enqueued[last]]
        return sum(entry.get(direction, 0) for entry in between)

    # From the decoder to the postnet only the lengths are read: one int32 a row.
    assert copied("decoder", "postnet", "d2h") == 2 * 4
    assert copied("decoder", "postnet", "h2d") == 0
    # To the vocoder: the noise goes up, the mel does not move.
    assert copied("postnet", "waveglow", "d2h") == 0
    assert copied("postnet", "waveglow", "h2d") == 2 * 8 * 32 * STEPS * 4
    life.close()


def test_a_crop_that_cuts_is_copied_in_the_glue_and_nowhere_else(
    magicmind_double: Any, tmp_path: Path
) -> None:
    life = Life(tmp_path)
    life.load()
    answer = life.run(1)
    assert answer["work"]["mel_frames_padded"] == [FRAMES]
    mel = [e for e in magicmind_double.calls("asnumpy") if e["shape"] == [1, 5, STEPS]]
    assert len(mel) == 1
    life.close()


@pytest.mark.parametrize(
    "fault",
    [{"keyword": False}, {"reshape_in_place": False}, {"tensor_list": True}],
    ids=lambda fault: next(iter(fault)),
)
def test_other_behaviours_of_the_runtime_give_the_same_outputs(
    magicmind_double: Any, tmp_path: Path, fault: dict[str, Any]
) -> None:
    seen = []
    for options in ({}, fault):
        magicmind_double.options.__dict__.update(options)
        life = Life(tmp_path)
        life.load()
        life.verify()
        seen.append(life.verify()["outputs"])
        life.close()
    assert seen[0] == seen[1]


def test_without_the_keyword_inputs_are_aliased_not_copied(
    magicmind_double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    magicmind_double.options.keyword = False
    marked(magicmind_double, monkeypatch)
    mlu.whole(tmp_path)
    for calls in spans(magicmind_double):
        assert calls[-2:] == ["enqueue", "sync"]
        assert set(calls[:-2]) == {"set_data_address"}
    assert not magicmind_double.calls("enqueue")[0]["by_order"]


def test_nothing_is_alive_when_destory_comes_last_and_once(
    magicmind_double: Any, tmp_path: Path
) -> None:
    mlu.whole(tmp_path)
    (ended,) = magicmind_double.calls("destroyed")
    assert ended["alive"] == {}
    assert len(magicmind_double.calls("destory")) == 1
    assert magicmind_double.log[-1] is ended
    gc.collect()
    assert magicmind_double.alive() == {}


def test_the_device_asked_for_is_the_one_used(magicmind_double: Any, tmp_path: Path) -> None:
    magicmind_double.options.devices = 2
    mlu.whole(tmp_path, device="1")
    for call in ("active", "create_i_engine", "create_queue", "enqueue", "Tensor", "sync"):
        assert {entry["device"] for entry in magicmind_double.calls(call)} == {1}, call
    assert all(entry["active"] for entry in magicmind_double.calls("create_i_engine", "Tensor"))


def test_mel_longer_than_the_built_range_is_a_clear_failure(
    magicmind_double: Any, tmp_path: Path
) -> None:
    magicmind_double.options.frames = [STEPS, 1700]
    life = Life(tmp_path)
    life.load()
    life.verify()
    error = life.answers.error("run", inputs=mlu.inputs(), count=1, start=0)
    assert error["kind"] == "failed"
    assert "postnet: input mel_outputs has shape [1, 5, 1700]" in error["message"]
    assert "32..1664" in error["message"]
    # The point fails; the worker lives on.
    assert life.run(1)["count"] == 1
    life.close()


def test_work_that_varies_is_counted_per_iteration(magicmind_double: Any, tmp_path: Path) -> None:
    magicmind_double.options.frames = [40, 51, 37]
    life = Life(tmp_path)
    life.load()
    assert life.run(3)["work"]["mel_frames_valid"] == [40, 51, 37]
    life.close()


def test_a_span_holds_what_the_card_takes(magicmind_double: Any, tmp_path: Path) -> None:
    magicmind_double.options.sync_ns = 2_000_000
    life = Life(tmp_path)
    life.load()
    columns = life.run(1)["columns"]
    for stage in STAGES:
        assert columns[f"{stage}_ns"][0] >= 2_000_000
    life.close()


def test_outputs_equal_those_of_the_cpu_reference(
    magicmind_double: Any,  # noqa: ARG001 - in place
    tmp_path: Path,
) -> None:
    life = Life(tmp_path)
    life.load()
    life.verify(str(tmp_path / "mlu.npz"))
    life.close()
    answers = Answers()
    answers.ask("probe", backend="onnxruntime", options={"intra_threads": 1}, device="0")
    request = {**life.request(), "cache_dir": str(tmp_path / "reference")}
    compiled = answers.ask("compile", **request)["stages"]
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    answers.ask("load", plan=life.plan, quant=mlu.QUANT, seed=1234, artefacts=artefacts)
    path = str(tmp_path / "cpu.npz")
    answers.ask("verify", inputs=mlu.inputs(), outputs=mlu.OUTPUTS, path=path)
    answers.ask("close")
    found, wanted = np.load(tmp_path / "mlu.npz"), np.load(path)
    for name in mlu.OUTPUTS:
        np.testing.assert_array_equal(found[name], wanted[name])
