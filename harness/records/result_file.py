"""The result file: schema and version, atomic write, load (docs/result-file.md).

A file is never changed: a correction is a new file that names the one it supersedes. What can be
computed from the raw samples (`complete`) is stored too, and must match when computed again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from harness import files, regular
from harness.errors import ResultFileError, UsageError
from harness.files import pretty
from harness.plain_text import file_name
from harness.records.identity import content_hash
from harness.records.sweep_folder import SWEEP_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Note = Callable[[bytes], None]


SCHEMA = {"name": "harness.trial", "major": 1, "minor": 1}
COMPRESS_FROM = 2000
"""Iterations in a trial from which its file is compressed."""


def _nobody(_: bytes) -> None:
    """Be told of a file that is going to be written, and keep nothing of it."""


def write_trial(folder: Path, document: Mapping[str, Any], note: Note = _nobody) -> Path:
    """Write a complete document into a point's folder, and drop the journal it replaces.

    Args:
        folder: of the point.
        document: complete.
        note: told the file's content just before the file appears.

    Returns:
        The file: `<trial_id>.json`, compressed from 2,000 iterations on.

    Raises:
        FileExistsError: a trial of that id is there already; it is left as it is.
    """
    content, name = pretty(document), f"{document['trial_id']}.json"
    iterations = sum(len(p["columns"].get("latency_ns", ())) for p in document["processes"])
    if iterations >= COMPRESS_FROM:
        content, name = gzip.compress(content, mtime=0), f"{name}.gz"
    note(content)
    files.write_whole(folder / name, content, replace=False)
    shutil.rmtree(parts_folder(folder, document["trial_id"]), ignore_errors=True)
    return folder / name


def parts_folder(folder: Path, trial_id: str) -> Path:
    """Return where the finished processes of an unfinished trial are kept."""
    return folder / f"{trial_id}.parts"


def write_sweep(folder: Path, facts: Mapping[str, Any], note: Note = _nobody) -> None:
    """Write what a sweep is going to do: command, order of points, method, versions.

    Args:
        folder: of the sweep.
        facts: all of it.
        note: told the file's content just before the file appears.
    """
    content = pretty(facts)
    note(content)
    files.write_whole(folder / SWEEP_FILE, content, replace=True)


# --- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredSweep:
    """The latest trial of every point of a folder, in the order planned."""

    folder: Path
    facts: Mapping[str, Any]
    """What `sweep.json` says; empty when there is none."""
    trials: Sequence[Mapping[str, Any]]
    paths: Mapping[str, Path]
    """The file of each trial, by trial id."""
    problems: Sequence[str] = field(default_factory=tuple)
    """Result files that could not be read, one line each."""


def load_trial(path: Path) -> dict[str, Any]:
    """Return the document of a result file.

    Raises:
        ResultFileError: it is unreadable, no such file, newer than this reader, or altered.
    """
    try:
        raw = regular.read(path)
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        document = orjson.loads(text)
    except (OSError, EOFError, ValueError) as error:
        raise ResultFileError(f"{path}: cannot be read ({error})") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or schema.get("name") != SCHEMA["name"]:
        raise ResultFileError(f"{path}: not a result file of schema {SCHEMA['name']}")
    if schema.get("major") != SCHEMA["major"]:
        raise ResultFileError(
            f"{path}: schema {schema['name']} {schema.get('major')}.{schema.get('minor')}; "
            f"this reader knows {SCHEMA['major']}.x; use a newer harness"
        )
    if not _as_stated(text, document):
        raise ResultFileError(f"{path}: its content does not match its content_sha256")
    try:
        file_name(document.get("trial_id"), "trial_id")
    except UsageError as error:
        raise ResultFileError(f"{path}: {error}") from error
    found: dict[str, Any] = document
    return found


def _as_stated(text: bytes, document: Mapping[str, Any]) -> bool:
    """Tell whether a document's content is that of its own hash.

    The text itself is taken first: our files are canonical JSON but for white space outside
    strings, and writing a document anew takes three times as long as reading it.
    """
    stated = document.get("content_sha256")
    if isinstance(stated, str) and b"\\" not in text:
        parts = text.split(b'"')  # no quote is escaped, so every other part is outside strings
        parts[::2] = b"\0".join(parts[::2]).translate(None, b" \n").split(b"\0")
        itself = f'"content_sha256":"{stated}",'.encode()
        rest = b'"'.join(parts).replace(itself, b"", 1)
        if hashlib.sha256(rest).hexdigest() == stated:
            return True
    return stated == content_hash(document)


def load_sweep(
    folder: Path, *, keep: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None
) -> StoredSweep:
    """Return what a sweep's folder holds; unreadable files are named, not raised.

    Args:
        folder: of the sweep.
        keep: returns what to keep of a document: a reader of very many points need not hold every
            iteration of each in memory.
    """
    trials: dict[str, Mapping[str, Any]] = {}
    paths: dict[str, Path] = {}
    problems = []
    for path in sorted(folder.glob("points/*/*.json*")):
        try:
            document = load_trial(path)
        except ResultFileError as error:
            problems.append(str(error))
            continue
        paths[document["trial_id"]] = path
        # Ids sort by time, so the last of a point is its latest, unless a clock stepped: what
        # names an older file as superseded wins over it.
        known = trials.get(document["point"]["id"], {})
        if known.get("supersedes") != document["trial_id"]:
            trials[document["point"]["id"]] = document if keep is None else keep(document)
    facts = _sweep_facts(folder)
    order = {one["id"]: place for place, one in enumerate(facts.get("points", ()))}
    ordered = sorted(
        trials.values(),
        key=lambda one: (order.get(one["point"]["id"], len(order)), one["trial_id"]),
    )
    return StoredSweep(folder, facts, ordered, paths, tuple(problems))


def _sweep_facts(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(regular.read(folder / SWEEP_FILE))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
