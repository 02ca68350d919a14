"""What is known of this host, kept where every result can quote it (method, section 9)."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from harness import files
from harness.machine import environment, signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


UNFIT = 0.05
"""Smallest detectable effect beyond which a machine cannot gate."""
GATE_BLOCKS = 10
OLD_DAYS = 7.0
LEAST_OCCASIONS = 5


def host() -> str:
    """Return the key of this machine's signature: the same between boots and in containers."""
    return signature.here().key


SELFCHECK, ROOFLINE = "selfcheck", "roofline"
"""What is kept of a host: what it can tell apart, and what it can do."""


def home(kind: str = SELFCHECK) -> Path:
    """Return where the checks of this host are kept."""
    return platformdirs.user_data_path("harness", appauthor=False) / kind / host()


def new_folder(kind: str = SELFCHECK) -> Path:
    """Return a new folder for the result files of one check."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for number in count(1):
        folder = home(kind) / f"{stamp}-{number:03d}"
        if folder.exists() or _facts(folder).exists():
            continue
        folder.mkdir(parents=True)
        return folder
    raise AssertionError("counting never ends")


def _facts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def keep(facts: Mapping[str, Any], folder: Path, *, raw: bool) -> Path:
    """Write the facts beside the result files they come from, or instead of them."""
    path = _facts(folder)
    files.write_sealed(path, facts)
    if not raw:
        shutil.rmtree(folder)
    return path


def stored(kind: str = SELFCHECK) -> list[dict[str, Any]]:
    """Return the checks of this host, oldest first; damaged ones are left out (`set_aside`)."""
    return [found for path in _paths(kind) if (found := _read(path)) is not None]


def _paths(kind: str) -> list[Path]:
    return sorted(home(kind).glob("*.json"))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return files.read_sealed(path)
    except files.DamagedError:
        return None


def set_aside() -> Iterator[str]:
    """Put the damaged facts of this host aside; yield a line about each.

    They cannot be made again without measuring, so whoever reads the line is told how.
    """
    for kind in (SELFCHECK, ROOFLINE):
        for path in _paths(kind):
            try:
                files.read_sealed(path)
            except files.DamagedError as error:
                yield f"{error}: not used any more; python -m harness {kind} measures it again"
                with contextlib.suppress(OSError):
                    path.replace(path.with_suffix(".damaged"))


def unfit(facts: Mapping[str, Any]) -> bool:
    """Return whether verdicts of a machine should not gate anything."""
    return not facts["aa"]["passed"] or facts["mde"][str(GATE_BLOCKS)] > UNFIT


def quoted() -> dict[str, Any]:
    """Return what a result says of the latest check of its host, or why it says nothing."""
    found = stored()
    if not found:
        return environment.unknown("this host has not been checked: python -m harness selfcheck")
    last = found[-1]
    age = datetime.now(UTC) - datetime.fromisoformat(last["started"])
    return {
        "started": last["started"],
        "age_days": age.total_seconds() / 86400,
        "same_kernel": last["kernel"] == environment.kernel(),
        "passed": last["aa"]["passed"],
        "different": last["aa"]["different"],
        "comparisons": last["aa"]["comparisons"],
        "mde": last["mde"][str(GATE_BLOCKS)],
        "power": last["power"],
    }


def roofline() -> dict[str, Any]:
    """Return what a result says of the latest measured limits of its host, or why nothing."""
    found = stored(ROOFLINE)
    if not found:
        return environment.unknown("this host's limits are not known: python -m harness roofline")
    last = found[-1]
    return {
        "started": last["started"],
        "same_kernel": last["kernel"] == environment.kernel(),
        "reading": last["reading"],
        "products": last["products"],
    }


def occasion_sd() -> float | None:
    """Return the SD of ln(level) of the kernel over the occasions kept; None below five."""
    levels = [one["level_s"] for one in stored()]
    if len(levels) < LEAST_OCCASIONS:
        return None
    return float(np.std(np.log(levels), ddof=1))
