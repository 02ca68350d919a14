"""All of it on the tiny model: by the backends' own methods, accuracy and limits included."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import contestants, sidebyside, table, threads, works
from benchmarks.contestants import BASE, EXPORTER, PYTORCH
from benchmarks.files import Files
from tests.benchmarks.test_table import LIMITS

if TYPE_CHECKING:
    from pathlib import Path


SETUP = works.Setup("tiny", text=8, frames=4)
INT8 = "onnxruntime qint8_mixed_float32"
FLOAT16 = "onnxruntime force_float16"
ROUNDING = 5e-4


def everybody() -> list[contestants.Contestant]:
    """Return who is not asked of a backend's process, and the modes of one backend."""
    return contestants.everybody(["onnxruntime"])


def test_backends_are_asked_for_their_modes() -> None:
    found = {one.name: one for one in everybody()}
    assert found[FLOAT16].form == "half_rounded"
    assert found[INT8].reason is None
    assert "int16" in str(found["onnxruntime qint16_mixed_float32"].reason)
    assert found[BASE].options == {"graph": "contract"}
    assert "batch of one" in str(found[EXPORTER].unable(4))


def test_a_backend_that_cannot_be_found_is_there_with_the_reason() -> None:
    (*_, found) = contestants.everybody(["tensorrt"])
    assert found.name == "tensorrt"
    assert "no backend 'tensorrt'" in str(found.reason)


@pytest.mark.slow
@pytest.mark.parametrize("work", works.WORKS)
def test_a_run_on_the_tiny_model_has_times_precisions_and_distances(
    work: str, tmp_path: Path
) -> None:
    names = [BASE, INT8, FLOAT16, *([PYTORCH, EXPORTER] if find_spec("torch") else [])]
    found = [one for one in everybody() if one.name in names or one.reason]
    asked = sidebyside.Asked(SETUP, [work], [2], turns=1, out=tmp_path / "table.md")
    (group,) = (kept := sidebyside.run(asked, found, tmp_path, LIMITS))["groups"]
    seats = {one["name"]: one for one in group["contestants"]}
    assert set(seats) == set(names)
    for name, one in seats.items():
        if name == EXPORTER and work != works.WAVEGLOW:
            assert "batch of one" in one["reason"]
            continue
        assert one["reason"] is None
        assert len(one["wall_s"]) == len(one["cpu_s"]) == 1
        assert one["effective"].keys() == group["counts"].keys()
    assert seats[BASE]["off"] == {"reason": "the reference"}
    exact = [PYTORCH] if PYTORCH in seats else []
    assert all(0 <= seats[one]["off"]["value"] < ROUNDING for one in exact)
    assert seats[FLOAT16]["off"]["value"] > ROUNDING
    assert [one["name"] for one in kept["absent"]] == [one.name for one in found if one.reason]
    text = (tmp_path / "table.md").read_text()
    assert text == "\n".join(table.document(kept)) + "\n"
    assert "float16-rounded values" in text


def test_given_masks_are_the_only_difference_between_timed_and_checked(tmp_path: Path) -> None:
    files = Files(SETUP, tmp_path, [works.STEP], lambda _: None)
    (base,) = (one for one in everybody() if one.name == BASE)
    timed, checked = (files.task(works.TACOTRON2, base, 2, given=one) for one in (False, True))
    assert timed.plan is not None
    assert checked.plan is not None
    paths = [
        {stage["name"]: stage["model"]["path"] for stage in plan["stages"]}
        for plan in (timed.plan, checked.plan)
    ]
    assert {name for name in paths[0] if paths[0][name] != paths[1][name]} == {"decoder"}
    inputs = works.inputs(works.TACOTRON2, SETUP, 2, given=True)
    assert inputs["prenet_keep"].shape == (SETUP.steps, 2, 1, SETUP.sizes.prenet)
    assert set(np.unique(inputs["prenet_keep"])) == {0.0, 1.0}


@pytest.mark.parametrize("name", works.WORKS)
def test_results_of_another_shape_are_told_and_not_compared(name: str) -> None:
    keys = works.outputs(name, SETUP)
    exact, found = ({key: np.ones((2, size)) for key in keys} for size in (3, 4))
    assert (
        "has the shape [2, 4] instead of [2, 3]" in works.off(name, SETUP, exact, found)["reason"]
    )


def test_a_step_is_off_by_its_worst_output() -> None:
    exact: dict[str, Any] = {"frame": np.full(4, 2.0), "gate": np.full(4, 1.0)}
    found = {"frame": np.full(4, 2.2), "gate": np.full(4, 1.5)}
    assert works.off(works.STEP, SETUP, exact, found) == {"value": 0.5, "unit": ""}


def test_settings_a_backend_does_not_take_are_told() -> None:
    assert threads.refused("default") is None
    assert threads.refused("blocks") is None
