"""The double is as strict as it promises: each rule refuses what it is there to refuse."""

from __future__ import annotations

import importlib
import json
import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.backends import small_pipeline

if TYPE_CHECKING:
    from pathlib import Path


class Sdk:
    """The double by the SDK's names, and a model of the small postnet."""

    def __init__(self, state: Any, folder: Path) -> None:
        self.state = state
        self.mm: Any = importlib.import_module("magicmind.python.runtime")
        self.parser: Any = importlib.import_module("magicmind.python.runtime.parser").Parser
        self.types: Any = importlib.import_module("magicmind.python.common.types")
        entries = small_pipeline.write_models(folder / "models")
        self.onnx = entries["postnet"]["path"]
        self.folder = folder
        self.system = self.mm.System()
        assert self.system.initialize().ok()

    def activate(self, number: int = 0) -> Any:
        device = self.mm.Device()
        device.id = number
        assert device.active().ok()
        return device

    def network(self) -> Any:
        network = self.mm.Network()
        assert self.parser(self.mm.ModelKind.kOnnx).parse(network, self.onnx).ok()
        return network

    def config(self, **values: Any) -> Any:
        config = self.mm.BuilderConfig()
        mutable = {
            "archs": ["mtp_372"],
            "graph_shape_mutable": True,
            "dim_range": {"0": {"min": [1, 5, 32], "max": [8, 5, 1664]}},
        }
        assert config.parse_from_string(json.dumps({**mutable, **values})).ok()
        return config

    def build(self, **values: Any) -> Any:
        return self.mm.Builder().build_model("postnet", self.network(), self.config(**values))

    def context(self) -> Any:
        return self.build().create_i_engine().create_i_context()


@pytest.fixture
def sdk(magicmind_double: Any, tmp_path: Path) -> Sdk:
    return Sdk(magicmind_double, tmp_path)


def mel(frames: int = 40) -> Any:
    return np.ones((1, 5, frames), np.float32)


def test_a_failed_status_is_true_and_speaks(sdk: Sdk) -> None:
    status = sdk.mm.Status(sdk.mm.Code.OUT_OF_RANGE, "the end")
    assert bool(status)
    assert not status.ok()
    assert str(status) == "the end"
    assert sdk.mm.Status().ok()
    assert sdk.mm.Status.OK().ok()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "invalid JSON"),
        ('{"no_such_key": 1}', "unknown key no_such_key"),
        ('{"opt_config": {"nope": true}}', "unknown key opt_config.nope"),
        ('{"precision_config": {"precision_mode": "float32"}}', "unknown value float32"),
    ],
)
def test_a_wrong_configuration_is_refused(sdk: Sdk, text: str, wrong: str) -> None:
    status = sdk.mm.BuilderConfig().parse_from_string(text)
    assert not status.ok()
    assert wrong in str(status)


def test_configurations_merge_and_later_values_win(sdk: Sdk) -> None:
    config = sdk.config(opt_config={"conv_scale_fold": True})
    later = {"opt_config": {"type64to32_conversion": True, "conv_scale_fold": False}}
    assert config.parse_from_string(json.dumps(later)).ok()
    sdk.mm.Builder().build_model("one", sdk.network(), config)
    (built,) = sdk.state.calls("build_model")
    assert built["config"]["opt_config"] == {
        "conv_scale_fold": False,
        "type64to32_conversion": True,
    }


@pytest.mark.parametrize(
    "values",
    [
        {"dim_range": {"1": {"min": [1], "max": [2]}}},
        {"dim_range": {"0": {"min": [1, 5], "max": [8, 5]}}},
        {"precision_config": {"precision_mode": "qint8_mixed_float16"}},
    ],
)
def test_an_impossible_build_is_none(sdk: Sdk, values: dict[str, Any]) -> None:
    assert sdk.build(**values) is None


def test_a_build_without_a_range_is_made_and_recorded(sdk: Sdk) -> None:
    config = sdk.mm.BuilderConfig()
    assert config.parse_from_string('{"graph_shape_mutable": true}').ok()
    assert sdk.mm.Builder().build_model("one", sdk.network(), config) is not None
    assert sdk.state.calls("build_model")[0]["mutable_without_range"]


def test_calibration_needs_a_device_in_this_thread(sdk: Sdk) -> None:
    found = []

    def calibrate() -> None:
        data = sdk.mm.CalibDataInterface()
        config = sdk.config(precision_config={"precision_mode": "qint8_mixed_float16"})
        found.append(sdk.mm.Calibrator([data]).calibrate(sdk.network(), config))

    sdk.activate()
    thread = threading.Thread(target=calibrate)
    thread.start()
    thread.join()
    assert not found[0].ok()
    assert "no device is active in this thread" in str(found[0])


def test_a_model_file_is_read_back_and_a_foreign_one_refused(sdk: Sdk) -> None:
    path = sdk.folder / "one.mm"
    assert sdk.build().serialize_to_file(str(path)).ok()
    model = sdk.mm.Model()
    assert model.deserialize_from_file(str(path)).ok()
    assert model.get_input_names() == ["mel_outputs"]
    assert model.get_input_dimensions()[0].GetDims() == [-1, 5, -1]
    assert model.get_input_data_types() == [sdk.mm.DataType.FLOAT32]
    path.write_bytes(b"something else")
    other = sdk.mm.Model()
    assert not other.deserialize_from_file(str(path)).ok()
    assert other.create_i_engine() is None


def test_a_device_that_is_not_there_cannot_be_activated(sdk: Sdk) -> None:
    device = sdk.mm.Device()
    device.dev_id = 5  # silently nothing, as in reality
    assert device.active().ok()
    device.id = 5
    assert not device.active().ok()


def test_outputs_are_poison_until_the_sync(sdk: Sdk) -> None:
    queue = sdk.activate().create_queue()
    context = sdk.context()
    inputs, outputs = context.create_inputs(), []  # type: Any, list[Any]
    assert inputs[0].from_numpy(mel()).ok()
    assert context.enqueue(inputs, outputs, queue).ok()
    assert np.isnan(outputs[0].asnumpy()).all()
    assert queue.sync().ok()
    assert np.isfinite(outputs[0].asnumpy()).all()


def test_a_view_does_not_outlive_the_next_enqueue(sdk: Sdk) -> None:
    queue = sdk.activate().create_queue()
    context = sdk.context()
    inputs, outputs = context.create_inputs(), []  # type: Any, list[Any]
    inputs[0].from_numpy(mel())
    context.enqueue(inputs, outputs, queue)
    queue.sync()
    view = outputs[0].asnumpy()
    first = view.copy()
    context.enqueue(inputs, [], queue)
    assert np.isnan(view).all()
    queue.sync()
    np.testing.assert_array_equal(outputs[0].asnumpy(), first)


def test_from_numpy_copies_and_checks(sdk: Sdk) -> None:
    sdk.activate()
    tensor = sdk.context().create_inputs()[0]
    array = mel()
    assert tensor.from_numpy(array).ok()
    array[:] = 7
    assert tensor.asnumpy().max() == 1
    assert not tensor.from_numpy(mel().astype(np.float64)).ok()
    assert not tensor.from_numpy(mel()[0]).ok()
    assert not tensor.from_numpy(np.ones((1, 6, 40), np.float32)).ok()


def test_the_list_of_outputs_is_filled_or_overwritten_never_appended_to(sdk: Sdk) -> None:
    queue = sdk.activate().create_queue()
    context = sdk.context()
    inputs, outputs = context.create_inputs(), []  # type: Any, list[Any]
    inputs[0].from_numpy(mel())
    assert context.enqueue(inputs, outputs, queue).ok()
    kept = outputs[0]
    assert context.enqueue(inputs, outputs, queue).ok()
    assert outputs == [kept]
    assert not context.enqueue(inputs, [kept, kept], queue).ok()
    inputs[0].from_numpy(mel(41))
    assert not context.enqueue(inputs, outputs, queue).ok()  # another shape, a reused tensor


def test_a_foreign_tensor_needs_the_keyword(sdk: Sdk) -> None:
    queue = sdk.activate().create_queue()
    context = sdk.context()
    foreign = sdk.mm.Tensor(
        shape=(1, 5, 40), dtype=sdk.mm.DataType.FLOAT32, location=sdk.mm.TensorLocation.kMLU
    )
    assert foreign.from_numpy(mel()).ok()
    assert not context.enqueue([foreign], [], queue).ok()
    assert context.enqueue([foreign], [], queue, input_by_tensor_order=True).ok()
    sdk.state.options.keyword = False
    with pytest.raises(TypeError):
        context.enqueue([foreign], [], queue, input_by_tensor_order=True)


def test_a_shape_outside_of_the_range_is_refused(sdk: Sdk) -> None:
    queue = sdk.activate().create_queue()
    context = sdk.context()
    inputs = context.create_inputs()
    inputs[0].from_numpy(mel(1665))
    status = context.enqueue(inputs, [], queue)
    assert "outside of its dim_range" in str(status)


def test_a_queue_of_another_device_is_refused(sdk: Sdk) -> None:
    sdk.state.options.devices = 2
    queue = sdk.activate(1).create_queue()
    sdk.activate(0)
    context = sdk.context()
    inputs = context.create_inputs()
    inputs[0].from_numpy(mel())
    assert "queue of device 1" in str(context.enqueue(inputs, [], queue))


def test_an_alias_dies_with_the_owner_of_its_memory(sdk: Sdk) -> None:
    sdk.activate()
    owner = sdk.mm.Tensor(shape=(4,), dtype=sdk.mm.DataType.INT32)
    assert owner.from_numpy(np.arange(4, dtype=np.int32)).ok()
    alias = sdk.mm.Tensor(shape=(2,), dtype=sdk.mm.DataType.INT32)
    alias.set_data_address(owner.data_address() + 8, [2])
    assert alias.asnumpy().tolist() == [2, 3]
    del owner
    with pytest.raises(RuntimeError, match="dropped"):
        alias.asnumpy()


def test_an_input_freed_before_the_sync_is_noticed(sdk: Sdk) -> None:
    queue = sdk.activate().create_queue()
    context = sdk.context()
    tensor = sdk.mm.Tensor(shape=(1, 5, 40), dtype=sdk.mm.DataType.FLOAT32)
    tensor.from_numpy(mel())
    outputs: list[Any] = []
    assert context.enqueue([tensor], outputs, queue, input_by_tensor_order=True).ok()
    del tensor
    assert "freed before" in str(queue.sync())


def test_to_moves_in_place_or_makes_another_type(sdk: Sdk) -> None:
    device = sdk.activate()
    tensor = sdk.mm.Tensor(shape=(2,), dtype=sdk.mm.DataType.FLOAT32)
    tensor.from_numpy(np.ones(2, np.float32))
    assert tensor.to(device) is None
    assert tensor.to(sdk.mm.DataType.FLOAT16).asnumpy().dtype == np.float16


def test_nothing_works_after_destory(sdk: Sdk) -> None:
    queue = sdk.activate().create_queue()
    sdk.system.destory()
    with pytest.raises(RuntimeError, match="used after destory"):
        queue.sync()


def test_copies_are_counted(sdk: Sdk) -> None:
    sdk.activate()
    tensor = sdk.mm.Tensor(shape=(1, 5, 40), dtype=sdk.mm.DataType.FLOAT32)
    tensor.from_numpy(mel())
    tensor.asnumpy()
    assert sdk.state.bytes("h2d") == sdk.state.bytes("d2h") == math.prod((1, 5, 40)) * 4
