"""From the command line to checked points."""

from __future__ import annotations

import sys

import pytest

from harness.errors import UsageError
from harness.planning import compose


@pytest.fixture(autouse=True)
def _plugins_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["harness"])


def test_the_defaults_are_the_originals_published_run() -> None:
    (point,) = compose.composition([]).configs
    assert (point.il, point.waveglow, point.measure.profile.value) == (128, False, "quick")
    assert (point.backend["name"], point.model.name) == ("onnxruntime", "full")


def test_a_sweep_is_the_product_with_the_last_key_fastest() -> None:
    points = compose.composition(["-m", "quant=force_float16,force_float32", "bs=1,4,8"]).configs
    assert [(p.quant.value, p.bs) for p in points] == [
        ("force_float16", 1),
        ("force_float16", 4),
        ("force_float16", 8),
        ("force_float32", 1),
        ("force_float32", 4),
        ("force_float32", 8),
    ]


def test_the_seed_table_is_six_points_and_gives_way_to_the_command_line() -> None:
    assert len(compose.composition(["-m", "experiment=seed_table"]).configs) == 6
    assert [p.bs for p in compose.composition(["-m", "experiment=seed_table", "bs=2"]).configs] == [
        2,
        2,
    ]


def test_short_keys_speak_for_the_profile() -> None:
    (point,) = compose.composition(["measure=compat", "num_iters=7", "warmup_iters=1"]).configs
    assert (point.measure.num_iters, point.measure.warmup_iters) == (7, 1)


def test_devices_with_a_comma_name_several_devices_of_one_point() -> None:
    (point,) = compose.composition(["devices=0,1"]).configs
    assert point.devices == ["0", "1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["foo=1"], "unknown key 'foo'"),
        (["+foo=1"], "unknown key: foo"),
        (["measure.foo=1"], "unknown key 'measure.foo'"),
        (["backend.foo=1"], "unknown key 'backend.foo'"),
        (["quant=foo"], "qint16_mixed_float16"),
        (["bs=0"], "bs=0: the batch size must be 1 to 1024"),
        (["bs=abc"], "bs=abc: Value 'abc'"),
        (["il=3"], "il=3: the input length must be 4 to 256"),
        (["il=400"], "il=400: the input length must be 4 to 256"),
        (["il=null"], "il=null"),
        (["bs=1,4"], "add -m"),
        (["backend=nope"], "backend=nope: there is no such choice; possible: fake, "),
        (["model=big"], "model=big: there is no such choice; possible: full, tiny"),
        (["experiment=nope"], "experiment=nope: there is no such choice"),
        (["experiment=seed_table"], "add -m"),
        (["-m", "bs=glob(*)"], "no points"),
        (["num_iters=0"], "num_iters=0: must be at least 1"),
        (["warmup_iters=-1"], "warmup_iters=-1: must be 0 or more"),
        (["measure.time_limit_s=0"], "time_limit_s=0"),
        (["measure=standard", "measure.min_processes=3"], "needs at least 5"),
        (["devices=[]"], "name at least one device"),
        (["devices=[0,0]"], "named twice"),
        (["seed=-1"], "seed=-1"),
        (["bs=[1"], "bs"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        compose.composition(arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_wrong_point_of_a_sweep_is_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"bs=0: .*; bs=-3: "):
        compose.composition(["-m", "bs=0,1,-3"])
