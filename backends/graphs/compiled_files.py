"""Model files rewritten for a runtime, kept in the artefact cache by what decides their bytes."""

from __future__ import annotations

import errno
import sys
import tempfile
import time
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

from backends import cache
from backends.base import Option
from backends.errors import BackendError, UnsupportedError
from backends.graphs import fusion, graph

if TYPE_CHECKING:
    from backends.pipeline import StagePlan


GRAPHS = ("fused", "contract")
GRAPH = Option("graph", "fused", "fused for this runtime, or as the model file has it", GRAPHS)
"""The option of every backend that rewrites."""
WRITERS = (
    "cache.py",
    "graphs/fusion.py",
    "graphs/graph.py",
    "graphs/int8_weights.py",
    "onnxruntime/convolutions.py",
    "onnxruntime/int8.py",
    "openvino/int8.py",
)
"""The files of this package whose code decides what a form is."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
NOTE = ".rewritten"
"""Suffix of the record of a form."""

Loaded = TypeVar("Loaded")
Rewriting = Callable[[Any], Dict[str, int]]


class CompileRecipe(NamedTuple):
    """How a form is made."""

    kind: str
    rewritings: Tuple[Rewriting, ...]
    facts: Any = None
    """What decides the form besides model, kind and code, as JSON has it."""


FUSED = CompileRecipe("fused", (fusion.fused,))


class CompiledFile(NamedTuple):
    """The model file a stage runs from, and what writing it cost."""

    path: str
    rewritten: Dict[str, int]
    """What was rewritten, and how often."""
    spent_ns: int
    refused: Optional[str] = None
    """Why the runtime's own form does not run, where this is the file as it is in its place."""


def contract(stage: StagePlan, refused: Optional[str] = None) -> CompiledFile:
    """Return the form that is a stage's model file as it is."""
    return CompiledFile(stage.model["path"], {}, 0, refused)


def opened(
    stage: StagePlan, making: Callable[[], CompiledFile], load: Callable[[str], Loaded]
) -> Tuple[CompiledFile, Loaded]:
    """Return a stage's own form and what the runtime makes of it.

    Where it cannot be written, or the runtime refuses it, the model file as it is takes its place;
    that is told on standard error, which a point's log keeps, and in the form returned.

    Args:
        stage: whose form it is.
        making: writes it, or finds it.
        load: from a path to what the runtime makes of the file.

    Raises:
        UnsupportedError: the form needs something that is not here.
        BackendError: the runtime refuses the model file too.
    """
    begin = time.perf_counter_ns()
    try:
        form = making()
        return form, load(form.path)
    except UnsupportedError:
        raise
    except BackendError as error:
        refused = str(error).replace(f"{stage.name}: ", "", 1)
    said = f"{stage.name}: its compiled form is refused, the model file as it is takes its place: "
    sys.stderr.write(f"{said}{refused}\n")
    sys.stderr.flush()
    loaded = load(stage.model["path"])
    return CompiledFile(stage.model["path"], {}, time.perf_counter_ns() - begin, refused), loaded


def written_by() -> str:
    """Return the hash of the code that writes forms: changed code never meets an old file."""
    sources = (Path(graph.__file__).parents[1] / name for name in WRITERS)
    return cache.key_of([source.read_text(encoding="utf-8") for source in sources])


def is_whole(stage: StagePlan, path: str) -> bool:
    """Return whether the model file a stage runs from is as it was written.

    The plan's own file is the controller's to prove; a form has a record beside it.
    """
    if path == stage.model["path"]:
        return Path(path).is_file()
    note = str(Path(path).with_suffix(NOTE))
    known = cache.read(note)
    return known is not None and cache.proved(note, known)


def identity(stage: StagePlan) -> List[Any]:
    """Return what tells a stage's model file from others."""
    return [stage.name, str(Path(stage.model["path"]).resolve()), stage.model.get("sha256")]


def rewrite(
    stage: StagePlan, target: str, rewritings: Sequence[Rewriting], runtime: str
) -> Dict[str, int]:
    """Write a stage's model file rewritten; return what was rewritten, and how often.

    Raises:
        UnsupportedError: the onnx package, which rewrites models, is not installed.
        BackendError: the file is no model.
    """
    source = stage.model["path"]
    try:
        return graph.rewrite(source, target, rewritings)
    except ImportError as error:
        raise UnsupportedError(
            f"graph=fused needs the onnx package beside {runtime} ({error}); install "
            "it, or set backend.graph=contract"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        line = " ".join(str(error).split()) or type(error).__name__
        raise BackendError(f"{stage.name}: {source} cannot be loaded: {line}") from error


def kept(stage: StagePlan, recipe: CompileRecipe, cache_dir: Path, runtime: str) -> CompiledFile:
    """Write the form of a stage's model, or find it: options of the runtime leave it be.

    Args:
        stage: whose model it is.
        recipe: what makes it.
        cache_dir: where it is kept.
        runtime: for the error's text.

    Raises:
        UnsupportedError: the onnx package, which rewrites models, is not installed.
        BackendError: the file is no model.
    """
    begin = time.perf_counter_ns()
    key = cache.key_of([written_by(), identity(stage), recipe.kind, recipe.facts])[:16]
    path = cache_dir / f"{stage.name}-{recipe.kind}-{key}.onnx"
    weights = path.with_suffix(graph.WEIGHTS)
    note = str(path.with_suffix(NOTE))
    known = cache.read(note)
    if known is not None and cache.proved(note, known):
        counts = known["rewritten"]
    else:
        with tempfile.TemporaryDirectory(dir=str(cache_dir)) as folder:
            made = Path(folder) / path.name
            counts = rewrite(stage, str(made), recipe.rewritings, runtime)
            made.with_suffix(graph.WEIGHTS).touch()  # a model may have no large weights
            cache.put(made.with_suffix(graph.WEIGHTS), weights)
            cache.put(made, path)
            files = cache.facts_of([weights, path])
            cache.write(note, {"rewritten": counts, cache.FILES: files})
    return CompiledFile(str(path), counts, time.perf_counter_ns() - begin)
