"""From a sweep's folder to views of its trials, and from text to a file in one step."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import regular
from harness.errors import UsageError
from harness.files import sha256
from harness.naming import ASKED
from reports.views import beside
from reports.views.points import PointView, SweepView, lean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def read_sweep(folder: Path) -> SweepView:
    """Return the latest trial of every point, in the order planned; unmeasured points too.

    Raises:
        UsageError: there is no such folder.
    """
    from harness.records import result_file  # noqa: PLC0415 - `import reports` stays cheap

    if not folder.is_dir():
        raise UsageError(f"report {folder}: there is no such folder; name a sweep's folder")
    found = result_file.load_sweep(folder, keep=lean)
    views = [_measured(folder, trial, found.paths[trial["trial_id"]]) for trial in found.trials]
    measured = {trial["point"]["id"] for trial in found.trials}
    views += [_planned(one) for one in found.facts.get("points", ()) if one["id"] not in measured]
    return SweepView(
        folder.resolve().name, tuple(views), found.facts, tuple(found.problems),
        beside.read(folder, found.facts),
    )  # fmt: skip


def _measured(folder: Path, trial: Mapping[str, Any], path: Path) -> PointView:
    return PointView(
        trial,
        path=path.relative_to(folder).as_posix(),
        sha256=sha256(path),
        recordings=tuple(wav_files(path.parent, folder)),
    )


def _planned(one: dict[str, Any]) -> PointView:
    """Return the view of a point that was planned and has no result yet."""
    point = {key: one[key] for key in ("id", "name", "config", ASKED) if key in one}
    return PointView({"point": point, "weights": one.get("weights")})


def refuse_special(path: Path) -> None:
    """Refuse a file that the user named and that a new file must not take the place of.

    A device or a link would be gone from its folder, for every process of the machine.

    Raises:
        NotRegularError: there is a link, a FIFO, a device or the like.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise regular.NotRegularError(errno.EINVAL, regular.kind(mode), str(path))


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


def wav_files(folder: Path, top: Path) -> Iterable[tuple[str, Path]]:
    """Yield path from `top`, and path, of every WAV file in a point's folder."""
    for path in sorted(folder.glob("*.wav")):
        yield path.relative_to(top).as_posix(), path
