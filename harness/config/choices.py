"""The closed sets of the configuration, and how a bad value is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Quant(StrEnum):
    """MagicMind's precision modes, by the names the original uses."""

    force_float32 = "force_float32"
    force_float16 = "force_float16"
    qint8_mixed_float32 = "qint8_mixed_float32"
    qint8_mixed_float16 = "qint8_mixed_float16"
    qint16_mixed_float32 = "qint16_mixed_float32"
    qint16_mixed_float16 = "qint16_mixed_float16"


class Dropout(StrEnum):
    """Whether the rows of a batch share the prenet's dropout mask."""

    shared = "shared"
    per_row = "per_row"


class FailOn(StrEnum):
    """From which verdict on a comparison fails."""

    slower = "slower"
    unresolved = "unresolved"


class Retry(StrEnum):
    """Which finished points are measured again."""

    nothing = "nothing"
    failed = "failed"


class Allow(StrEnum):
    """What may be taken from a file that the ledger does not know, when the user says so."""

    python = "python"
    """The command that starts a worker."""
    launcher = "launcher"
    """What hands points to other machines, and its settings."""
    places = "places"
    """Where files are read from or written to."""
    plugins = "plugins"
    """Folders of configuration and code, Hydra's own settings, and every word not known here."""


def refuse(problems: Iterable[str]) -> None:
    """Raise the problems of a configuration in one ValueError, if there are any."""
    found = "; ".join(problems)
    if found:
        raise ValueError(found)
