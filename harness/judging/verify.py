"""Does a result file say what its samples say? Schema, hash, and every computed field again."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from harness.errors import ResultFileError
from harness.judging import complete
from harness.machine import environment
from harness.records import result_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


COMPUTED = ("processes", "summary", "devices", "energy", "compat", "roofline", "warnings", "grade")
SENTENCES = {"seen", "why", "advice", "text", "reason"}
"""Keys of words for a reader, which another version may put otherwise. What they are about, their
codes, letters and severities, must be the same whoever wrote the file."""
TOLERANCE = 1e-9
"""Relative: another machine's mathematics library may round the last digits otherwise."""


def files(folder: Path) -> list[Path]:
    """Return the result files of a sweep, every trial of every point."""
    return sorted(folder.glob("points/*/*.json*"))


def problems(path: Path) -> list[str]:
    """Return what is wrong with a result file, one line each; nothing when it is sound."""
    try:
        document = result_file.load_trial(path)
    except ResultFileError as error:
        return [str(error)]
    found = list(_schema(document))
    if not found:
        same = _version(document["provenance"]) == _version(environment.provenance(""))
        again = complete.complete({k: v for k, v in document.items() if k != "content_sha256"})
        for key in COMPUTED:
            if key in document:  # a file of before has no figures of several devices, nor energy
                found += _differences(document[key], again[key], key, words=same)
    return [f"{path}: {line}" for line in found]


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a result file."""
    text = resources.files("harness").joinpath("trial.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _schema(document: Mapping[str, Any]) -> Iterator[str]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - only to verify

    for error in Draft202012Validator(schema()).iter_errors(document):
        where = ".".join(str(part) for part in error.absolute_path) or "the document"
        yield f"{where} breaks the schema: {error.message[:200]}"


def _version(provenance: Mapping[str, Any]) -> tuple[Any, ...]:
    git = provenance.get("git") or {}
    return provenance.get("harness_version"), git.get("commit"), git.get("diff_sha256")


def _differences(stored: Any, again: Any, where: str, *, words: bool) -> Iterator[str]:
    """Yield where two values differ; `words`: in what they say to a reader, too."""
    if isinstance(stored, dict) and isinstance(again, dict):
        for key in sorted({*stored, *again}):
            pair = stored.get(key), again.get(key)
            if words or key not in SENTENCES or None in pair:
                yield from _differences(*pair, f"{where}.{key}", words=words)
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for place, pair in enumerate(zip(stored, again, strict=True)):
            yield from _differences(*pair, f"{where}[{place}]", words=words)
    elif not _same(stored, again):
        yield f"{where}: stored {stored!r}, computed again {again!r}"


def _same(stored: Any, again: Any) -> bool:
    if isinstance(stored, float) and isinstance(again, float):
        return math.isclose(stored, again, rel_tol=TOLERANCE)
    return bool(stored == again)
