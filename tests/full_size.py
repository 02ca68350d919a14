"""The full-size graphs without the values of their weights: what there is to count."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from harness.models import tacotron2, work
from harness.models.graphs.builder import GraphBuilder
from harness.models.graphs.files import tacotron2_files, waveglow_files
from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask
from harness.models.pipeline import product
from harness.models.sizes import FULL
from harness.models.weights import tacotron2_shapes, waveglow_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping


STAGES = {stage.name: stage for stage in tacotron2.build("full").stages}


class Zeros(dict[str, Any]):
    """Arrays of the right shapes that take no memory; mixing matrices can be inverted."""

    def __missing__(self, key: str) -> Any:
        shape = {**tacotron2_shapes(FULL), **waveglow_shapes(FULL)}[key]
        if key.startswith("convinv"):
            return np.eye(shape[0], dtype=np.float32)[:, :, np.newaxis]
        return np.broadcast_to(np.float32(1), shape)


@cache
def models() -> Mapping[str, onnx.ModelProto]:
    """Return the full-size models without the values of their weights, by stage."""
    patch, weight = pytest.MonkeyPatch(), GraphBuilder.weight

    def shapes_only(self: GraphBuilder, name: str, array: Any) -> str:
        if array.size <= work.KEPT_VALUES:
            return weight(self, name, array)
        full = f"{self.scope}{name}"
        self._weights[full] = onnx.TensorProto(
            name=full, dims=array.shape, data_type=onnx.TensorProto.FLOAT
        )
        return full

    patch.setattr(GraphBuilder, "weight", shapes_only)
    length = DecodeLength(1664, from_text=True)
    writers = {
        **tacotron2_files(Zeros(), FULL, length, DropoutMask.SHARED),
        **waveglow_files(Zeros(), FULL),
    }
    made = {stage: writers[f"{stage}.onnx"]().model({}) for stage in STAGES}
    patch.undo()
    return made


@cache
def counted(stage: str, **sizes: int) -> work.Counts:
    """Return the work of a full-size stage."""
    shapes = {
        spec.name: tuple(product(size, sizes) for size in spec.dims)
        for spec in STAGES[stage].inputs
    }
    return work.of_model(models()[stage], shapes)
