"""Saved baselines: results kept under a name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from harness.errors import UsageError
from harness.records import result_file

if TYPE_CHECKING:
    from collections.abc import Iterator


KEPT = ("sweep.json", "summary.csv", "summary.json")


def home() -> Path:
    """Return the folder of named baselines."""
    return platformdirs.user_data_path("harness", appauthor=False) / "baselines"


# --- named baselines -------------------------------------------------------------------------


def save(name: str, folder: Path, *, overwrite: bool = False) -> Path:
    """Copy the results of a sweep to where `name` finds them.

    Raises:
        UsageError: the name is taken or no name, or the folder holds no result.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UsageError(f"baseline save {name!r}: letters, digits, '.', '+', '-' and '_' only")
    if not folder.is_dir():
        raise UsageError(f"baseline save {name} {folder}: there is no such folder")
    found = result_file.load_sweep(folder)
    if not found.trials:
        raise UsageError(f"baseline save {name} {folder}: holds no result file")
    place = home() / name
    if place.exists() and not overwrite:
        raise UsageError(f"baseline {name} exists already; overwrite=true replaces it")
    fresh = place.with_name(f".{name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for file in [folder / one for one in KEPT if (folder / one).is_file()]:
        shutil.copy2(file, fresh / file.name)
    for path in found.paths.values():
        point = fresh / path.parent.relative_to(folder)
        point.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, point / path.name)
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)
    return place


def names() -> list[str]:
    """Return the names of the saved baselines."""
    if not home().is_dir():
        return []
    return sorted(one.name for one in home().iterdir() if one.is_dir() and one.name[0] != ".")


def describe() -> Iterator[str]:
    """Yield one line for each saved baseline."""
    for name in names():
        found = result_file.load_sweep(home() / name)
        started = min((one["started"]["utc"] for one in found.trials), default="never")
        labels = "; ".join(dict.fromkeys(one["weights"]["label"] for one in found.trials))
        yield f"{name}  {len(found.trials)} points, measured {started[:19]}, {labels}"


def resolve(text: str, asked: str) -> Path:
    """Return the sweep's folder that a path or a name stands for; a path comes first.

    Args:
        text: what the user wrote.
        asked: the option it was written for, for the message.

    Raises:
        UsageError: it is neither.
    """
    if Path(text).exists():
        return Path(text)
    if text in names():
        return home() / text
    saved = ", ".join(names()) or "none"
    raise UsageError(
        f"{asked}{text}: neither a folder nor a saved baseline; saved: {saved}. "
        "`python -m harness baseline save NAME DIR` saves one"
    )
