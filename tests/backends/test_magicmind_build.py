"""What is built, for which sizes, and when it is built again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends.base import QUANTS
from tests.backends import mlu
from tests.backends.mlu import CALIBRATION, Life

INTEGER = [quant for quant in QUANTS if "qint" in quant]


def builds(state: Any) -> dict[str, dict[str, Any]]:
    """The last build of each stage."""
    return {one["name"]: one for one in state.calls("build_model")}


@pytest.mark.parametrize("quant", QUANTS)
def test_the_precision_built_is_the_one_asked_for(
    magicmind_double: Any, tmp_path: Path, quant: str
) -> None:
    life = Life(tmp_path, quant=quant)
    loaded = life.load()
    for name, build in builds(magicmind_double).items():
        assert build["config"]["precision_config"]["precision_mode"] == quant
        effective = loaded[name]["effective"]
        assert effective["requested"] == quant
        assert effective["build"]["config"]["precision_config"]["precision_mode"] == quant
        # The SDK cannot be asked what runs: never called verified.
        assert effective["verified"] is False
        assert effective["reason"]
    assert life.run()["count"] == 2
    life.close()


def test_inputs_and_outputs_are_read_back_from_the_model_file(
    magicmind_double: Any,  # noqa: ARG001 - in place
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, quant="force_float16")
    loaded = life.load()
    assert loaded["encoder"]["effective"]["inputs"] == {
        "sequences": "int32",
        "sequence_lengths": "int32",
    }
    assert loaded["decoder"]["effective"]["inputs"]["mask"] == "bool"
    assert loaded["postnet"]["effective"]["outputs"] == {"mel_outputs_postnet": "float32"}
    life.close()


def test_one_build_covers_the_ranges_of_the_pipeline(magicmind_double: Any, tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.load()
    made = builds(magicmind_double)
    encoder, waveglow = made["encoder"], made["waveglow"]
    assert encoder["config"]["graph_shape_mutable"] is True
    assert encoder["config"]["dim_range"] == {
        "0": {"min": [1, 4], "max": [8, 256]},
        "1": {"min": [1], "max": [8]},
    }
    assert encoder["dims"] == [[4, 128], [4]]  # tuned for the typical size
    assert waveglow["config"]["dim_range"]["1"] == {
        "min": [1, 8, 32 * 32, 1],
        "max": [8, 8, 32 * 1664, 1],
    }
    assert not any(one["mutable_without_range"] for one in made.values())
    assert not any(one["range_without_mutable"] for one in made.values())
    for batch in (1, 4, 8):
        assert life.run(1, **mlu.inputs(batch))["work"]["utterances"] == [batch]
    assert life.run(1, **mlu.inputs(2, text=40))["count"] == 1
    assert len(magicmind_double.calls("build_model")) == len(mlu.STAGES)
    life.close()


def test_a_static_build_takes_its_size_and_no_other(magicmind_double: Any, tmp_path: Path) -> None:
    sizes = "batch:2,text:20,frames:38"
    life = Life(tmp_path, static_sizes=sizes)
    life.load()
    config = builds(magicmind_double)["postnet"]["config"]
    assert config["graph_shape_mutable"] is False
    assert "dim_range" not in config
    assert life.run(1, **mlu.inputs(2))["count"] == 1
    error = life.answers.error("run", inputs=mlu.inputs(1), count=1, start=0)
    assert "the model was built for [2, 20]" in error["message"]
    life.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"static_sizes": "batch=2"}, "write symbol:size pairs"),
        ({"static_sizes": "batch:2"}, "give every one of them a size"),
        ({"clusters": "six"}, "write numbers, such as 4,8"),
        ({"build_config": "absent.json"}, "cannot be read"),
        (
            {"calibration_algorithm": "eqnm", "activation_algorithm": "asymmetric"},
            "needs magicmind.activation_algorithm=symmetric",
        ),
    ],
)
def test_an_option_that_cannot_be_meant_is_a_usage_error(
    magicmind_double: Any,  # noqa: ARG001 - in place
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
) -> None:
    life = Life(tmp_path, **options)
    request = {"backend": "magicmind", "options": life.options, "device": "0"}
    answer = life.answers.raw("probe", request)
    if answer["ok"]:
        answer = life.answers.raw("compile", life.request())
    assert answer["error"]["kind"] == "usage"
    assert message in answer["error"]["message"]
    life.answers.worker.close()


def test_clusters_are_written_with_the_architecture(magicmind_double: Any, tmp_path: Path) -> None:
    life = Life(tmp_path, clusters="4,8")
    life.compile()
    assert builds(magicmind_double)["encoder"]["config"]["archs"] == [{"mtp_372": [4, 8]}]
    life.close()


def test_the_architecture_comes_from_the_card(
    magicmind_double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CNMON", json.dumps({"product": "MLU590-M9"}))
    magicmind_double.options.arch = "mtp_592"
    life = Life(tmp_path, arch="")
    life.load()
    assert builds(magicmind_double)["encoder"]["config"]["archs"] == ["mtp_592"]
    life.close()


def test_an_unknown_card_needs_the_architecture_named(
    magicmind_double: Any,  # noqa: ARG001 - in place
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_CNMON", json.dumps({"product": "MLU999"}))
    life = Life(tmp_path, arch="")
    life.probe()
    error = life.answers.error("compile", **life.request())
    assert error["kind"] == "unsupported"
    assert "card: MLU999" in error["message"]
    assert "backend.arch=" in error["message"]
    life.close()


def test_a_configuration_of_the_users_is_merged_and_its_effect_shown(
    magicmind_double: Any, tmp_path: Path
) -> None:
    own = {"opt_config": {"conv_scale_fold": False}, "compute_determinism": True}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(own))
    life = Life(tmp_path, build_config=str(path))
    loaded = life.load()
    config = builds(magicmind_double)["decoder"]["config"]
    assert config["compute_determinism"] is True
    assert config["opt_config"] == {"type64to32_conversion": True, "conv_scale_fold": False}
    assert loaded["decoder"]["effective"]["build"]["user"] == {
        "opt_config.conv_scale_fold": [True, False],
        "compute_determinism": [None, True],
    }
    life.close()


def test_a_configuration_of_the_users_does_not_choose_the_precision(
    magicmind_double: Any,  # noqa: ARG001 - in place
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"precision_config": {"precision_mode": "force_float16"}}))
    life = Life(tmp_path, build_config=str(path))
    life.probe()
    error = life.answers.error("compile", **life.request())
    assert error["kind"] == "usage"
    assert "chosen with quant=" in error["message"]
    life.close()


# --- calibration -------------------------------------------------------------------------------


@pytest.mark.parametrize("quant", INTEGER)
def test_integer_modes_calibrate_on_what_the_float32_build_hands_on(
    magicmind_double: Any, tmp_path: Path, quant: str
) -> None:
    life = Life(tmp_path, quant=quant)
    loaded = life.load()
    assert len(magicmind_double.calls("calibrate")) == len(mlu.STAGES)
    assert [one["samples"] for one in magicmind_double.calls("calibrated")] == [1] * 4
    inputs = [one["inputs"] for one in magicmind_double.calls("Calibrator")]
    assert inputs == [2, 11, 1, 2]
    text = loaded["decoder"]["effective"]["build"]["calibration"]
    assert text == "linear, on 1 passes of the float32 build"
    life.close()


def test_calibration_comes_after_the_configuration_and_before_the_build(
    magicmind_double: Any, tmp_path: Path
) -> None:
    life = Life(tmp_path, quant="qint8_mixed_float16")
    life.compile()
    calls = [entry["call"] for entry in magicmind_double.log]
    first = calls.index("calibrate")
    assert calls[first - 1] == "set_quantization_algorithm"
    assert calls[first : first + 4] == ["calibrate", "calibrated", "Builder", "build_model"]
    life.close()


def test_made_up_ranges_say_so(magicmind_double: Any, tmp_path: Path) -> None:
    life = Life(tmp_path, quant="qint8_mixed_float16", calibration="custom_ranges")
    probe = life.probe()
    assert "performance only" in probe["precisions"]["qint8_mixed_float16"]["note"]
    compiled = life.answers.ask("compile", **life.request())["stages"]
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    loaded = life.answers.ask(
        "load", plan=life.plan, quant=life.quant, seed=1, artefacts=artefacts
    )["stages"]
    assert "performance only" in loaded["encoder"]["effective"]["build"]["calibration"]
    assert not magicmind_double.calls("calibrate")
    life.close()


def test_without_inputs_an_integer_mode_is_skipped_with_the_way_out(
    magicmind_double: Any,  # noqa: ARG001 - in place
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, quant="qint8_mixed_float16")
    life.probe()
    error = life.answers.error("compile", **life.request())
    assert error["kind"] == "unsupported"
    assert "backend.calibration=custom_ranges" in error["message"]
    life.close()


def test_an_integer_build_that_is_kept_is_not_calibrated_again(
    magicmind_double: Any, tmp_path: Path
) -> None:
    for _ in range(2):
        life = Life(tmp_path, quant="qint8_mixed_float16")
        life.compile()
        life.close()
    assert len(magicmind_double.calls("calibrate")) == len(mlu.STAGES)


# --- the cache ---------------------------------------------------------------------------------


def compiled(tmp_path: Path, **options: Any) -> dict[str, Any]:
    life = Life(tmp_path, **options)
    found = life.compile()
    life.close()
    return found


@pytest.mark.usefixtures("magicmind_double")
def test_a_second_build_is_found(tmp_path: Path) -> None:
    first, second = compiled(tmp_path), compiled(tmp_path)
    assert not any(stage["cached"] for stage in first.values())
    assert all(stage["cached"] for stage in second.values())
    assert [one["key"] for one in first.values()] == [one["key"] for one in second.values()]


@pytest.mark.usefixtures("magicmind_double")
@pytest.mark.parametrize(
    "change",
    [{"quant": "force_float16"}, {"arch": "mtp_592"}, {"fusion": False}, {"clusters": "8"},
     {"static_sizes": "batch:1,text:20,frames:38"}, {"computation_preference": "fast"}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_another_recipe_is_another_build(tmp_path: Path, change: dict[str, Any]) -> None:
    first, second = compiled(tmp_path), compiled(tmp_path, **change)
    assert not any(stage["cached"] for stage in second.values())
    assert {one["key"] for one in first.values()}.isdisjoint(one["key"] for one in second.values())


@pytest.mark.usefixtures("magicmind_double")
def test_how_it_is_synchronised_does_not_change_the_build(tmp_path: Path) -> None:
    compiled(tmp_path)
    assert all(stage["cached"] for stage in compiled(tmp_path, sync="end").values())


def spoil_content(path: Path) -> None:
    path.write_bytes(b"not a model")


def drop_record(path: Path) -> None:
    Path(f"{path}.json").unlink()


@pytest.mark.usefixtures("magicmind_double")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [(spoil_content, "is not the file that was built"), (drop_record, "has no record")],
)
def test_a_foreign_file_is_built_again_and_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], spoil: Any, said: str
) -> None:
    first = compiled(tmp_path)
    spoil(Path(first["postnet"]["artefact"]))
    capfd.readouterr()
    second = compiled(tmp_path)
    assert {name for name, stage in second.items() if not stage["cached"]} == {"postnet"}
    assert said in capfd.readouterr().err
    assert all(stage["cached"] for stage in compiled(tmp_path).values())


@pytest.mark.usefixtures("magicmind_double")
def test_another_release_builds_anew_and_says_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(tmp_path)
    monkeypatch.setattr("backends.magicmind.sdk.version", lambda: "1.7.0")
    life = Life(tmp_path)
    loaded = life.load()
    note = loaded["encoder"]["effective"]["build"]["note"]
    assert "is of MagicMind 1.6.0" in note
    assert "built anew for 1.7.0" in note
    assert loaded["encoder"]["effective"]["build"]["sdk"] == "1.7.0"
    life.close()


def test_what_mm_run_tells_stands_with_the_build(magicmind_double: Any, tmp_path: Path) -> None:
    life = Life(tmp_path, mm_run=True)
    loaded = life.load()
    assert loaded["encoder"]["effective"]["build"]["mm_run"]["clusters"] == 6
    assert loaded["decoder"]["effective"]["build"]["mm_run"] is None
    assert magicmind_double.calls("build_model")
    life.close()


@pytest.mark.usefixtures("magicmind_double")
def test_a_model_file_of_another_mode_is_not_loaded(tmp_path: Path) -> None:
    half = compiled(tmp_path, quant="force_float16")
    life = Life(tmp_path)
    life.probe()
    artefacts = {name: stage["artefact"] for name, stage in half.items()}
    error = life.answers.error(
        "load", plan=life.plan, quant="force_float32", seed=1, artefacts=artefacts
    )
    assert "has no record of a force_float32 build" in error["message"]
    life.close()


def test_calibration_inputs_are_used(magicmind_double: Any, tmp_path: Path) -> None:
    life = Life(tmp_path, quant="qint16_mixed_float32")
    life.probe()
    two = [*CALIBRATION, mlu.inputs(1, text=24)]
    life.answers.ask("compile", **life.request(), calibration=two)
    assert {one["samples"] for one in magicmind_double.calls("calibrated")} == {2}
    life.close()
