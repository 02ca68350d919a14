"""The plan of docs/protocol.md as typed records, and its tensors laid out in numbered slots.

Every tensor that is made gets a slot of its own, also when it replaces another of the same name:
after an iteration the shapes of all of them can still be looked at, outside the spans.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

from backends.errors import OptionError

Dim = Tuple[Union[int, str], ...]
"""A size as factors: (80,), ("frames",), ("frames", 32)."""


class Tensor(NamedTuple):
    """Name, symbolic shape and dtype of a tensor."""

    name: str
    dims: Tuple[Dim, ...]
    dtype: str


class GluePlan(NamedTuple):
    """One glue step as the plan writes it."""

    op: str
    out: Tensor
    args: Dict[str, Any]


class LoopPlan(NamedTuple):
    """How a stage that loops ends."""

    steps: str
    limit: int


class StagePlan(NamedTuple):
    """One stage: its model file, tensors and glue."""

    name: str
    inputs: Tuple[Tensor, ...]
    outputs: Tuple[Tensor, ...]
    produces: str
    glue: Tuple[GluePlan, ...]
    loop: Optional[LoopPlan]
    model: Dict[str, Any]


class ItemsPlan(NamedTuple):
    """What is counted: padded as a product of sizes, valid by the tensor of true lengths."""

    name: str
    padded: Dim
    lengths: str
    per_length: int


class PipelinePlan(NamedTuple):
    """A pipeline as the measured side executes it."""

    pipeline: str
    inputs: Tuple[Tensor, ...]
    items: Tuple[ItemsPlan, ...]
    sizes: Dict[str, Tuple[int, ...]]
    stages: Tuple[StagePlan, ...]


def _dim(value: Any) -> Dim:
    return tuple(value) if isinstance(value, list) else (value,)


def _tensor(value: Dict[str, Any]) -> Tensor:
    return Tensor(value["name"], tuple(_dim(dim) for dim in value["dims"]), value["dtype"])


def _tensors(values: List[Dict[str, Any]]) -> Tuple[Tensor, ...]:
    return tuple(_tensor(value) for value in values)


def _stage(value: Dict[str, Any]) -> StagePlan:
    loop = value.get("loop")
    return StagePlan(
        name=value["name"],
        inputs=_tensors(value["inputs"]),
        outputs=_tensors(value["outputs"]),
        produces=value["produces"],
        glue=tuple(
            GluePlan(step["op"], _tensor(step["out"]), dict(step["args"])) for step in value["glue"]
        ),
        loop=LoopPlan(loop["steps"], loop["limit"]) if loop else None,
        model=dict(value["model"]),
    )


def parse(value: Any) -> PipelinePlan:
    """Return the typed plan.

    Raises:
        UsageError: a key is missing or has the wrong type.
    """
    try:
        return PipelinePlan(
            pipeline=value["pipeline"],
            inputs=_tensors(value["inputs"]),
            items=tuple(
                ItemsPlan(
                    items["name"], tuple(items["padded"]), items["lengths"], items["per_length"]
                )
                for items in value["items"]
            ),
            sizes={symbol: tuple(sizes) for symbol, sizes in value["sizes"].items()},
            stages=tuple(_stage(stage) for stage in value["stages"]),
        )
    except KeyError as error:
        raise OptionError(f"the plan lacks the key {error}") from error
    except (TypeError, AttributeError) as error:
        raise OptionError(f"the plan is not as docs/protocol.md writes it: {error}") from error


class GlueStep(NamedTuple):
    """One glue step with its tensors found: what an implementation is built from."""

    stage: str
    op: str
    out: Tensor
    args: Dict[str, Any]
    reads: Dict[str, Tuple[int, bool]]
    """For each argument that names a tensor: its slot, and whether it holds a host array."""
    sizes: Dict[str, int]
    """Symbols bound by the pipeline's inputs: the plan's least until inputs are set."""
    sources: Dict[str, Tuple[int, int]]
    """For each symbol bound inside the iteration so far: the slot and axis that bind it."""
