"""Model files somebody else wrote: are they readable, and do they keep the contract?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.models import batch, external
from harness.models.external import printable
from harness.models.graphs.files import LABEL_KEY, STEP_LIMIT_KEY, WEIGHTS_KEY
from harness.models.pipeline import ALIGNMENTS
from harness.models.synthetic import SEED_KEY, label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness.models.pipeline import Stage, TensorSpec


def metadata(path: Path) -> dict[str, str]:
    """Return what the file says of itself.

    Raises:
        UsageError: the file cannot be read as an ONNX model.
    """
    return {prop.key: prop.value for prop in _load(path).metadata_props}


def _load(path: Path) -> Any:
    import onnx  # noqa: PLC0415 - heavy
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        size = path.stat().st_size
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (DecodeError, ValueError) as error:
        raise UsageError(
            f"{path}: {size:,} bytes that are not a whole ONNX model (truncated, or another kind "
            "of file); copy or export it again"
        ) from error
    if not model.graph.node:
        raise UsageError(f"{path}: {size:,} bytes without a graph in them; copy or export it again")
    return model


def _declared(values: Iterable[Any]) -> dict[str, tuple[int, str]]:
    from onnx import helper  # noqa: PLC0415 - heavy

    found = {}
    for value in values:
        kind = value.type.tensor_type
        known = kind.elem_type in helper.get_all_tensor_dtypes() and kind.elem_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name if known else "no known type"
        found[printable(value.name)] = (len(kind.shape.dim), dtype)
    return found


def _compare(path: Path, what: str, specs: Iterable[TensorSpec], found: Mapping[str, Any]) -> None:
    for spec in specs:
        if spec.name not in found:
            raise UsageError(
                f"{path}: {what} '{spec.name}' is missing; found {', '.join(found) or 'none'}; "
                "the names must be those of NVIDIA's exporter"
            )
        rank, dtype = found[spec.name]
        if rank and rank != len(spec.dims):
            raise UsageError(
                f"{path}: {what} '{spec.name}' has {rank} dimensions, the contract "
                f"{len(spec.dims)}; export it again with NVIDIA's exporter"
            )
        allowed = {spec.dtype} | ({"int32", "int64"} if spec.dtype == "int64" else set())
        if dtype not in allowed:
            raise UsageError(
                f"{path}: {what} '{spec.name}' is {dtype}, the contract {spec.dtype}; export it in "
                "float32: the quant mode chooses the precision"
            )


@dataclass(frozen=True)
class Facts:
    """What a stage's files say of themselves."""

    metadata: Mapping[str, str]
    unlimited: bool
    """A Loop in it has no trip limit: nothing but its gate ends it."""
    alignments: bool = False
    """Its Loop's attention weights are an output, which the contract does not ask for."""
    fixed: tuple[str, ...] = ()
    """Inputs of the single step whose batch is a number, as NVIDIA's exporter leaves them."""
    loop_fixed: tuple[str, ...] = ()
    """What its Loop's body declares with the traced batch, which is not that of the model."""
    data: tuple[external.DataFile, ...] = ()
    """Files beside it that hold weights of it."""
    small_apart: bool = False
    """Small tensors of it lie in such files, which runtimes cannot compute shapes from."""

    def as_model(self) -> dict[str, Any]:
        """Return what the record of a model keeps of it, without what is as it should be."""
        record: dict[str, Any] = {}
        if self.unlimited:
            record["unlimited"] = True
        if self.alignments:
            record[ALIGNMENTS.name] = True
        if self.fixed:
            record["step_fixed"] = list(self.fixed)
        if self.loop_fixed:
            record[batch.FIXED] = list(self.loop_fixed)
        if self.small_apart:
            record[external.APART] = True
        limit = self.metadata.get(STEP_LIMIT_KEY, "")
        if limit.isdecimal():
            record["step_limit"] = int(limit)
        return record


def check(path: Path, stage: Stage) -> Facts:
    """Check a stage's files against the contract and return what they say.

    Raises:
        UsageError: the file is unreadable, invalid, or lacks a tensor the stage needs.
    """
    model, data = _valid(path)
    constants = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    declared = _declared(inputs)
    _compare(path, "input", stage.inputs, declared)
    extra = set(declared) - {spec.name for spec in stage.inputs}
    if extra:
        raise UsageError(
            f"{path}: unknown input {', '.join(sorted(extra))}; the {stage.name} takes "
            f"{', '.join(spec.name for spec in stage.inputs)}"
        )
    needed = [spec for spec in stage.outputs if spec.name != "lens"]
    _compare(path, "output", needed, _declared(model.graph.output))
    unlimited = any(node.op_type == "Loop" and not node.input[0] for node in model.graph.node)
    step = path.with_name(stage.loop.step_model) if stage.loop else None
    fixed = _fixed_batch(_valid(step)[0]) if step and step.is_file() else ()
    given = stage.loop is not None and any(
        value.name == ALIGNMENTS.name for value in model.graph.output
    )
    about = {prop.key: prop.value for prop in model.metadata_props}
    apart = any(external.small(model))
    return Facts(about, unlimited, given, fixed, batch.fixed(model), data, apart)


def _valid(path: Path) -> tuple[Any, tuple[external.DataFile, ...]]:
    """Return a valid model without what is in the files beside it, and those files.

    Raises:
        UsageError: the model is unreadable or invalid, or a file beside it is.
    """
    import onnx  # noqa: PLC0415 - heavy

    model = _load(path)
    data = external.files(path, model)
    try:
        # By its path where there are such files: the checker looks for them from there.
        onnx.checker.check_model(str(path.resolve()) if data else model)
    except Exception as error:  # beside its own error the checker raises those of broken bytes
        first = printable(str(error).strip().splitlines()[0])
        raise UsageError(f"{path}: not a valid ONNX model ({first}); export it again") from error
    return model, data


def _fixed_batch(model: Any) -> tuple[str, ...]:
    return tuple(
        value.name
        for value in model.graph.input
        if (dims := value.type.tensor_type.shape.dim) and dims[0].HasField("dim_value")
    )


def weights_of(about: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the weights record of files, by what their metadata says.

    Args:
        about: metadata of each stage's file.
    """
    kinds = {facts.get(WEIGHTS_KEY, "supplied") for facts in about.values()}
    if kinds == {"supplied"}:
        return {"kind": "supplied", "seed": None, "label": "supplied weights"}
    if len(kinds) > 1:
        said = ", ".join(
            f"{stage} {facts.get(WEIGHTS_KEY, 'supplied')}" for stage, facts in about.items()
        )
        kind = "synthetic" if "synthetic" in kinds else "mixed"
        return {"kind": kind, "seed": None, "label": f"partly synthetic weights ({said})"}
    (kind,) = kinds
    if kind == "checkpoint":
        said = "; ".join(dict.fromkeys(facts.get(LABEL_KEY, kind) for facts in about.values()))
        return {"kind": kind, "seed": None, "label": said}
    seeds = {facts.get(SEED_KEY) for facts in about.values()}
    seed = int(next(iter(seeds)) or 0) if len(seeds) == 1 and None not in seeds else None
    name = label(seed) if kind == "synthetic" and seed is not None else f"{kind} weights"
    return {"kind": kind, "seed": seed, "label": name}
