"""From a sweep's folder to views of its trials, and from text to a file in one step."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from reports.trials import PointView, SweepView, sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_sweep(folder: Path) -> SweepView:
    """Return the latest trial of every point, in the order planned; unmeasured points too.

    Raises:
        UsageError: there is no such folder.
    """
    from harness import results  # noqa: PLC0415 - `import reports` stays cheap

    if not folder.is_dir():
        raise UsageError(f"report {folder}: there is no such folder; name a sweep's folder")
    return results.load_sweep(folder)


def write_text(target: Path, text: str) -> Path:
    """Write a file through a temporary one beside it, so that no reader sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target
