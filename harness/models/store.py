"""Model files found, written and kept: the cache, and the user's own folder of ONNX files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.files import (
    DamagedError,
    put,
    read_sealed,
    remove,
    sha256,
    touch,
    write_sealed,
)
from harness.models import batch, checkpoint, external, half, supplied, synthetic, uses
from harness.models.graphs.tacotron2 import DropoutMask
from harness.models.synthetic import WeightsRecipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.models.pipeline import Pipeline

    Notify = Callable[[str], None]


MANIFEST = "manifest.json"
FOLDERS = ("models", "forms", "compiled", "compiled/known", "references", "uses")
"""Of the cache."""
WRITING = ".writing-"
"""Begins the name of what is not finished."""
SHOWN = 5
"""Names listed of a folder that holds something else."""


@dataclass(frozen=True)
class ResolvedModels:
    """The file of each stage, and what all of them say of their weights."""

    models: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Any]


def cache_folder() -> Path:
    """Return the folder for everything that can be made again."""
    import platformdirs  # noqa: PLC0415 - only when something is cached

    return Path(platformdirs.user_cache_dir("harness", appauthor=False))


def mend_folders(notify: Notify) -> None:
    """Make way for the folders of the cache where something else has their name.

    A link is the user's: where it leads nowhere, whoever needs the folder says so.
    """
    for name in FOLDERS:
        path = cache_folder() / name
        if os.path.lexists(path) and not path.is_dir() and not path.is_symlink():
            notify(f"{path} is no folder: removed, and made again")
            _clear(path)


def use(*paths: Path) -> None:
    """Note that this process uses files of the cache until it ends."""
    uses.mine.note(cache_folder(), paths)


def resolve_models(
    pipeline: Pipeline,
    *,
    model: str,
    models_dir: Path | None,
    seed: int,
    notify: Notify,
    per_row: bool = False,
    writing: bool = True,
) -> ResolvedModels:
    """Return the model file of each stage that runs.

    Without a folder, or with an empty one, synthetic weights are written once and reused; a folder
    that holds the files is used as it is.

    Args:
        pipeline: the stages that run; the files of others are not touched.
        model: "full" or "tiny", for synthetic weights.
        models_dir: the user's folder.
        seed: of the synthetic weights.
        notify: told what takes time, and what a reader should know.
        per_row: synthetic decoders draw a dropout mask for every row of the batch.
        writing: synthetic weights may be written into an empty folder; otherwise those of the cache
            stand for them, which are the same.

    Raises:
        UsageError: the folder is missing, unreadable or incomplete, holds something else, or a file
            breaks the contract.
    """
    recipe = WeightsRecipe(model, seed, DropoutMask.PER_ROW if per_row else DropoutMask.SHARED)
    cache = cache_folder() / "models"
    if models_dir is None:
        return _synthetic(pipeline, recipe, cache, notify)
    present = _present(pipeline, models_dir)
    missing = [name for name in pipeline.models() if name not in present]
    if present and missing:
        raise UsageError(
            f"models_dir={models_dir}: {', '.join(missing)} missing beside {', '.join(present)}; "
            "add the missing files, or name an empty folder to have synthetic ones written"
        )
    if not present:
        _no_checkpoints(models_dir)
        _nothing_else(models_dir, pipeline.models())
        kept = "are kept" if writing else "will be kept"
        notify(f"models_dir={models_dir} is empty: synthetic weights {kept} there")
        return _synthetic(pipeline, recipe, models_dir if writing else cache, notify)
    facts = {
        stage.name: supplied.check(models_dir / stage.model, stage) for stage in pipeline.stages
    }
    models = {
        name: _with_data(model, facts[name].data) | facts[name].as_model()
        for name, model in _described(pipeline, models_dir).items()
    }
    about = {name: one.metadata for name, one in facts.items()}
    return ResolvedModels(models, supplied.weights_of(about))


def _no_checkpoints(folder: Path) -> None:
    """Refuse to write synthetic weights beside real ones."""
    found = sorted(path.name for path in folder.iterdir() if checkpoint.looks_like_one(path))
    if found:
        raise UsageError(
            f"models_dir={folder} holds checkpoints ({', '.join(found)}) but no model files; write "
            f"them first: python -m harness export models_dir={folder} "
            f"checkpoint={','.join(str(folder / name) for name in found)}"
        )


def _nothing_else(folder: Path, expected: Sequence[str]) -> None:
    """Refuse a folder that holds anything but what was written there by an earlier command."""
    other = sorted(
        f"{path.name}/" if path.is_dir() else path.name
        for path in folder.iterdir()
        if not (path.name.startswith(WRITING) or (path / MANIFEST).is_file())
    )
    if other:
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        shown = ", ".join(external.printable(name) for name in other[:SHOWN])
        raise UsageError(
            f"models_dir={folder}: {', '.join(expected)} are expected, and none of them is there; "
            f"found {shown}{more}; name the folder that holds them, an empty one to have synthetic "
            "weights written, or leave the key out"
        )


def _present(pipeline: Pipeline, folder: Path) -> list[str]:
    try:
        found = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError as error:
        raise UsageError(
            f"models_dir={folder}: there is no such folder; create it, or leave the key out to use "
            "synthetic weights from the cache"
        ) from error
    except OSError as error:
        raise UsageError(
            f"models_dir={folder}: cannot be read ({error.strerror}); name a readable folder"
        ) from error
    return [name for name in pipeline.models() if name in found]


def _described(
    pipeline: Pipeline, folder: Path, known: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    models = {}
    for stage in pipeline.stages:
        path = folder / stage.model
        step = folder / stage.loop.step_model if stage.loop else None
        models[stage.name] = {
            "file": stage.model,
            "path": str(path.resolve()),
            "sha256": known[stage.model] if known else sha256(path),
            "bytes": path.stat().st_size,
            "form": "float32",
            "step_path": str(step.resolve()) if step and step.is_file() else None,
        }
    return models


def _with_data(model: Mapping[str, Any], files: Sequence[external.DataFile]) -> dict[str, Any]:
    """Return a stage's model that keeps weights in files beside it: they are part of it."""
    if not files:
        return dict(model)
    data = [{"file": one.name, "sha256": sha256(one.path), "bytes": one.size} for one in files]
    whole = json.dumps([model["sha256"], data], sort_keys=True).encode()
    return {
        **model,
        "sha256": hashlib.sha256(whole).hexdigest(),
        "bytes": model["bytes"] + sum(one.size for one in files),
        "file_sha256": model["sha256"],
        "data": data,
    }


def _synthetic(
    pipeline: Pipeline, recipe: WeightsRecipe, root: Path, notify: Notify
) -> ResolvedModels:
    folder = root / recipe.name
    label = synthetic.label(recipe.seed)
    steps = [stage.loop.step_model for stage in pipeline.stages if stage.loop]
    names = (*pipeline.models(), *steps)  # some backends step the decoder themselves
    use(folder)
    hashes = _whole(folder, names) if os.path.lexists(folder) else None
    if hashes is None:
        if os.path.lexists(folder):
            notify(f"{folder} does not match its manifest: written again")
            _clear(folder)
        _write(folder, recipe, notify)
        hashes = _whole(folder, names)
        if hashes is None:
            raise UsageError(f"{folder}: files change while they are used; is the disk sound?")
    touch(folder / MANIFEST)
    weights = {"kind": "synthetic", "seed": recipe.seed, "label": label}
    return ResolvedModels(_described(pipeline, folder, hashes), weights)


def _whole(folder: Path, names: tuple[str, ...]) -> dict[str, str] | None:
    """Return the hashes of the files named when all match the manifest, else None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        found = {name: sha256(folder / name) for name in names}
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict):
        return None
    return found if all(manifest.get(name) == digest for name, digest in found.items()) else None


def _clear(path: Path) -> None:
    """Remove a damaged file or folder of the cache.

    Raises:
        UsageError: it cannot be removed.
    """
    try:
        remove(path)
    except OSError as error:
        raise UsageError(
            f"{path}: is damaged and cannot be removed ({error.strerror}); remove it, or set "
            "XDG_CACHE_HOME to another folder"
        ) from error


def _write(folder: Path, recipe: WeightsRecipe, notify: Notify) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=WRITING, dir=folder.parent) as temporary:
            made = Path(temporary, "models")
            made.mkdir()
            recipe.write(made, notify)
            hashes = {path.name: sha256(path) for path in sorted(made.iterdir())}
            (made / MANIFEST).write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
            if not folder.exists():
                put(made, folder)
    except OSError as error:
        # Another process may have put the same files there first; they are checked next.
        if not folder.exists():
            raise UsageError(
                f"{folder}: models cannot be written ({error.strerror}); name another folder with "
                "models_dir, or set XDG_CACHE_HOME"
            ) from error


def runnable(model: Mapping[str, Any], notify: Notify) -> dict[str, Any]:
    """Return a stage's model as runtimes can run it, a copy prepared once and reused.

    Raises:
        UsageError: the file cannot be written.
    """
    if model.get(batch.FIXED):
        return _made(model, half.DYNAMIC_BATCH, notify)
    if model.get(external.APART):
        return _made(model, half.WEIGHTS_INSIDE, notify)
    return dict(model)


def in_form(model: Mapping[str, Any], form: str, notify: Notify) -> dict[str, Any]:
    """Return a stage's model in the form a backend asks for, prepared once and reused.

    Raises:
        UsageError: the form is unknown, or the file cannot be written.
    """
    if form == model["form"]:
        return dict(model)
    if form not in half.FORMS:
        raise UsageError(f"the backend asks for models in form '{form}', which is not known here")
    return {**_made(model, form, notify), "form": form}


def _made(model: Mapping[str, Any], form: str, notify: Notify) -> dict[str, Any]:
    writers = [Path(one).read_bytes() for one in (half.__file__, batch.__file__)]
    writer = hashlib.sha256(b"".join(writers)).hexdigest()
    key = hashlib.sha256(f"{model['sha256']} {form} {writer}".encode()).hexdigest()[:16]
    target = cache_folder() / "forms" / f"{Path(model['file']).stem}-{form}-{key}.onnx"
    record = target.with_suffix(".sha256")
    use(target, record)
    digest = _recorded(target, record)
    touch(record)
    if digest is None:
        if os.path.lexists(target) or os.path.lexists(record):
            notify(f"{target} does not match its hash: prepared again")
            _clear(target)
            _clear(record)
        notify(f"preparing {model['file']} in form {form}")
        digest = _prepare(Path(model["path"]), form, target, record)
    return {
        **model,
        "path": str(target),
        "sha256": digest,
        "bytes": target.stat().st_size,
        "source_path": model.get("source_path", model["path"]),
        "source_sha256": model.get("source_sha256", model["sha256"]),
    }


def _recorded(target: Path, record: Path) -> str | None:
    try:
        known = record.read_text().strip()
        return known if sha256(target) == known else None
    except (OSError, ValueError):
        return None


def _prepare(source: Path, form: str, target: Path, record: Path) -> str:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=WRITING, dir=target.parent) as temporary:
            made = Path(temporary, target.name)
            half.write(source, form, made)
            digest = sha256(made)
            noted = Path(temporary, record.name)
            noted.write_text(digest + "\n")
            put(made, target)
            put(noted, record)
    except OSError as error:
        raise UsageError(
            f"{target}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder with "
            "room"
        ) from error
    return digest


def _compiled_note(name: str) -> Path:
    return cache_folder() / "compiled" / "known" / f"{name}.json"


def note_compiled(name: str, artefacts: Sequence[str], files: Sequence[str]) -> None:
    """Remember what a point's models were compiled to; losing the note costs nothing.

    Args:
        name: of the compiled form, as the plan calls it.
        artefacts: what is loaded.
        files: those and everything else of the cache they rest on.
    """
    note = _compiled_note(name)
    use(note, *map(Path, files))
    known = {"artefacts": list(artefacts), "files": list(files)}
    with contextlib.suppress(OSError):
        if _noted(name) == known:
            touch(note)
            return
        note.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(note, known)


def _noted(name: str) -> dict[str, Any]:
    """Return what is remembered; nothing when the note is missing or damaged."""
    with contextlib.suppress(DamagedError):
        return read_sealed(_compiled_note(name)) or {}
    return {}


def is_compiled(name: str) -> bool:
    """Return whether a point's models were compiled before and the files are still there."""
    known = _noted(name)
    return bool(known) and all(Path(path).exists() for path in known["files"])


def use_compiled(name: str) -> None:
    """Note that this process is going to use what a point's models were compiled to."""
    known = _noted(name)
    if known:
        use(_compiled_note(name), *map(Path, known["files"]))
