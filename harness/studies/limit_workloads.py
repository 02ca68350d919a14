"""What the limits of a machine are measured with: reading, and one large matrix product."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.models.graphs.builder import GraphBuilder
from harness.models.pipeline import AudioFormat, Glue, Items, Pipeline, SizeRange, Stage, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


INPUTS = {"lengths": [1]}
WEIGHTS = {"kind": "none", "label": "yardstick, no weights"}
READING, PRODUCT = "reading", "product"
ROWS, DEPTH, COLUMNS = 1024, 2048, 2048
PRODUCT_MACS = ROWS * DEPTH * COLUMNS
PRODUCT_FILE = "product.onnx"


def _pipeline(name: str, *stages: Stage) -> Pipeline:
    return Pipeline(
        name=name,
        inputs=(TensorSpec("lengths", ("batch",), "int32"),),
        stages=stages,
        items=(Items("passes", "passes", ("batch",), "lengths"),),
        sizes={"batch": SizeRange(1, 1, 1)},
        audio=AudioFormat(1, 1),
        vocoder="",
    )


def reading(places: Mapping[str, Mapping[str, int]]) -> Pipeline:
    """Return the pipeline of the reading backend: a stage for each place, in order."""
    lengths, last = TensorSpec("lengths", ("batch",), "int32"), TensorSpec("last", ("batch",))
    return _pipeline(READING, *(Stage(name, "", (lengths,), (last,), "passes") for name in places))


def reading_models(places: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """Return what stands for the models of that pipeline: the places themselves.

    Args:
        places: by name of the stage: bytes, threads and passes, as `backends.yardsticks.memory`
            takes them.
    """
    return {
        name: {
            "file": None, "path": "", "bytes": 0, "form": "float32", "reads": dict(place),
            "sha256": hashlib.sha256(json.dumps(place, sort_keys=True).encode()).hexdigest(),
        }
        for name, place in places.items()
    }  # fmt: skip


def product() -> Pipeline:
    """Return x (1024, 2048) times fixed weights (2048, 2048), and the largest value of each row."""
    x = TensorSpec("x", (ROWS, DEPTH))
    y = TensorSpec("y", (ROWS,))
    stage = Stage(PRODUCT, PRODUCT_FILE, (x,), (y,), "passes", (Glue("normal", x),))
    return _pipeline(PRODUCT, stage)


def write_product(path: Path) -> None:
    """Write the layer's model file."""
    import onnx  # noqa: PLC0415 - heavy

    weight = np.random.default_rng(1).standard_normal((DEPTH, COLUMNS), np.float32)
    b = GraphBuilder(PRODUCT)
    b.input("x", "float32", (ROWS, DEPTH))
    product = b.op("MatMul", "x", b.weight("weight", weight / np.float32(np.sqrt(DEPTH))))
    # A product that is the result itself would stay float32 in a form that quantises.
    b.op("ReduceMax", product, out="y", axes=[1], keepdims=0)
    b.output("y", "float32", (ROWS,))
    onnx.save(b.model({}), path)


def models(path: Path, digest: str) -> dict[str, dict[str, Any]]:
    """Return the layer's model as a plan names it."""
    return {
        PRODUCT: {
            "file": path.name, "path": str(path), "sha256": digest, "bytes": path.stat().st_size,
            "form": "float32",
        }
    }  # fmt: skip
