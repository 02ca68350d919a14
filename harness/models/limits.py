"""What the machine's limits are measured with, as pipelines: working sets to read, products.

A read says its working set in its model, for `backends/reading.py`; a product is a model file of
one matrix multiplication, which any backend compiles as it compiles everything else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.models.graphs.builder import GraphBuilder
from harness.models.pipeline import (
    AudioFormat,
    Glue,
    Items,
    Pipeline,
    SizeRange,
    Stage,
    TensorSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20
WORKING_SETS = (256 * KIB, 1 * MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB)
"""Bytes, from what a core's own cache holds to what only memory does."""
READ_BYTES = 256 * MIB
"""About what one call reads: some milliseconds, so that starting threads costs nothing."""
SIDE = 1024
"""Rows and columns of every matrix: its products outnumber its elements by as much."""
INPUTS = {"lengths": [1]}
_LENGTHS = TensorSpec("lengths", ("batch",), "int32")


@dataclass(frozen=True)
class Read:
    """One working set, read by so many threads."""

    working_set_bytes: int
    threads: int

    @property
    def name(self) -> str:
        """Name of its stage."""
        return f"read_{self.working_set_bytes}_{self.threads}"

    @property
    def passes(self) -> int:
        """How often one call reads it."""
        return max(1, READ_BYTES // self.working_set_bytes)

    def model(self) -> dict[str, Any]:
        """Return what the plan says of it; there is no file."""
        return {
            "file": None, "path": "", "sha256": "0" * 64, "bytes": 0, "form": "float32",
            "working_set_bytes": self.working_set_bytes, "passes": self.passes,
            "threads": self.threads,
        }  # fmt: skip


def reads(cpus: int) -> tuple[Read, ...]:
    """Return every working set for one thread and for all; threads share a set evenly."""
    found = []
    for threads in sorted({1, cpus}):
        even = threads * np.dtype(np.float32).itemsize
        found += [Read(size - size % even, threads) for size in WORKING_SETS]
    return tuple(found)


def reading(wanted: Sequence[Read]) -> dict[str, Any]:
    """Return the plan that reads each working set in turn."""
    stages = tuple(
        Stage(one.name, "", (_LENGTHS,), (TensorSpec(f"last_{one.name}", ("batch",)),), "calls")
        for one in wanted
    )
    return _pipeline("reading", stages).plan({one.name: one.model() for one in wanted})


@dataclass(frozen=True)
class Product:
    """A matrix product in a file: what it takes and gives."""

    name: str
    operator: str
    taken: str
    """dtype of the matrix that comes from outside; the other is a weight of `weight`."""
    weight: str
    made: str
    glue: str


PRODUCTS = (
    Product("product_float", "MatMul", "float32", "float32", "float32", "normal"),
    Product("product_integer", "MatMulInteger", "uint8", "int8", "int32", "zeros"),
)


def write(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the file of each product; return what a plan says of it."""
    import onnx  # noqa: PLC0415 - heavy

    models = {}
    for one in PRODUCTS:
        path = folder / f"{one.name}.onnx"
        onnx.save(_graph(one).model({}), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        models[one.name] = {
            "file": path.name, "path": str(path), "sha256": digest,
            "bytes": path.stat().st_size, "form": one.weight,
        }  # fmt: skip
    return models


def _graph(one: Product) -> GraphBuilder:
    graph, rng = GraphBuilder(one.name), np.random.default_rng(1)
    drawn = rng.normal(0, SIDE**-0.5, (SIDE, SIDE))
    weight = drawn if one.weight == "float32" else np.clip(drawn * 1000, -127, 127)
    taken = graph.input(f"taken_{one.name}", one.taken, (SIDE, SIDE))
    made = graph.op(
        one.operator, taken, graph.weight("weight", weight.astype(one.weight)),
        out=f"made_{one.name}",
    )  # fmt: skip
    graph.output(made, one.made, (SIDE, SIDE))
    return graph


def product_operations() -> int:
    """Return the operations of a product: two for each of SIDE^3 terms."""
    return 2 * SIDE**3


def product(one: Product, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plan of one product; the matrix it takes is made outside its span."""
    taken = TensorSpec(f"taken_{one.name}", (SIDE, SIDE), one.taken)
    made = TensorSpec(f"made_{one.name}", (SIDE, SIDE), one.made)
    stage = Stage(one.name, "", (taken,), (made,), "calls", (Glue(one.glue, taken),))
    return _pipeline("product", (stage,)).plan(models)


def _pipeline(name: str, stages: tuple[Stage, ...]) -> Pipeline:
    return Pipeline(
        name=name,
        inputs=(_LENGTHS,),
        stages=stages,
        items=(Items("calls", "calls", ("batch",), "lengths"),),
        sizes={"batch": SizeRange(1, 1, 1)},
        audio=AudioFormat(1, 1),
        vocoder="",
    )
