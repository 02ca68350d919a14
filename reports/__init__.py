"""Result files become pages and tables here. Nothing is measured, no figure is computed anew."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["REPORT", "export", "render"]

REPORT = "report.html"
"""The page of a sweep, in the sweep's folder."""


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keep the cyclic garbage collector out: documents of a thousand points hold no cycles.

    Walking them again and again would take a quarter of the time.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def render(sweep_dir: Path, *, out: Path | None = None) -> Path:
    """Write the HTML report of a sweep from its result files alone.

    Args:
        sweep_dir: folder of a sweep (docs/result-file.md).
        out: the file to write; by default `report.html` in the sweep's folder.

    Returns:
        The file written. It replaces an older one in one step.

    Raises:
        UsageError: there is no such folder.
    """
    from reports.files import read_sweep, write_text  # noqa: PLC0415 - `import reports` is cheap
    from reports.html import page_html  # noqa: PLC0415

    target = out if out is not None else sweep_dir / REPORT
    with _without_collections():
        return write_text(target, page_html(read_sweep(sweep_dir), target.parent))


def export(sweep_dir: Path, format: str) -> str:  # noqa: A002 - the word a caller would use
    """Return the table of points as text in the given format.

    Args:
        sweep_dir: folder of a sweep.
        format: `markdown`, `csv`, `json` or `latex`.

    Raises:
        UsageError: there is no such folder or format.
    """
    from reports.exports import export_text  # noqa: PLC0415 - as above
    from reports.files import read_sweep  # noqa: PLC0415

    return export_text(read_sweep(sweep_dir), format)
