"""Result files become pages and tables here. Nothing is measured, no figure is computed anew."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reports.views.points import SweepView


__all__ = ["FILES", "REPORT", "export", "render", "write"]
REPORT = "report.html"
"""The page of a sweep, in the sweep's folder."""
FILES = {
    "html": REPORT,
    "markdown": "report.md",
    "csv": "report.csv",
    "json": "report.json",
    "latex": "report.tex",
}
"""The formats of `write`, and what their files are called."""


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
        OSError: the file cannot be written, or `out` is a link, a device or the like.
    """
    from reports.pages.render import page_html  # noqa: PLC0415
    from reports.views.reader import (  # noqa: PLC0415 - `import reports` is cheap
        read_sweep,
        refuse_special,
        write_text,
    )

    if out is not None:
        refuse_special(out)
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
    from reports.exports.points import export_text  # noqa: PLC0415 - as above
    from reports.views.reader import read_sweep  # noqa: PLC0415

    return export_text(read_sweep(sweep_dir), format)


def write(sweep_dir: Path, formats: Sequence[str], *, out: str | None = None) -> dict[str, Path]:
    """Write a sweep's report in some formats of `FILES`, and return the file of each.

    Args:
        sweep_dir: folder of a sweep, which is read once.
        formats: at least one.
        out: where to: a folder when it is one, ends like one, or several formats are asked for;
            else the file of the one format. None: the sweep's folder.

    Raises:
        UsageError: there is no such folder or format.
        OSError: a file cannot be written, or `out` is a link, a device or the like.
    """
    from reports.views.reader import (  # noqa: PLC0415 - as above
        read_sweep,
        refuse_special,
        write_text,
    )

    place = sweep_dir if out is None else Path(out)
    several = len(formats) > 1 or out is None or out.endswith(os.sep) or place.is_dir()
    if not several:
        refuse_special(place)
    with _without_collections():
        sweep = read_sweep(sweep_dir)
        targets = {one: place / FILES[one] if several else place for one in formats}
        return {one: write_text(path, _text(sweep, one, path)) for one, path in targets.items()}


def _text(sweep: SweepView, name: str, path: Path) -> str:
    from reports.exports.points import export_text  # noqa: PLC0415 - as above
    from reports.pages.render import page_html  # noqa: PLC0415 - as above

    if name == "html":
        return page_html(sweep, path.parent)
    return export_text(sweep, name)
