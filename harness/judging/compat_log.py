"""The original's log: writing it, reading it, and the names of its files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.analysis import accuracy
from harness.analysis.compat import MELS, column_names
from harness.errors import ResultFileError
from harness.plain_text import file_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_HEAD = re.compile(r"^=+dev\[(?P<device>[^\]]*)\]=+$")
_FIELD = re.compile(r"^(?P<name>\S.*?) = (?P<value>-?[0-9.]+(?:e[+-]?[0-9]+)?)$")


@dataclass(frozen=True)
class Block:
    """The lines one device has in a log: field name -> value, in order."""

    device: str
    fields: Mapping[str, float] = field(default_factory=dict)


def log_name(document: Mapping[str, Any]) -> str:
    """Return the file name the original would give: `<quant>_<batch>_<length>_log_perf`.

    Raises:
        UsageError: what the document says makes no file's name.
    """
    config = document["point"]["config"]
    return file_name(f"{config['quant']}_{config['bs']}_{config['il']}_log_perf", "log")


def log_text(found: Sequence[Block], note: str | None = None) -> str:
    """Return the text of a log: the original's lines, six decimals, the mel count plain.

    Args:
        found: one block per device.
        note: what a reader must know first; becomes a comment line, which readers skip.
    """
    lines = [f"# {note}"] if note else []
    for block in found:
        lines.append(f"{'=' * 16}dev[{block.device}]{'=' * 16}")
        for name, value in block.fields.items():
            text = str(value) if name == MELS else f"{value:.6f}"
            lines.append(f"{name} = {text}")
    return "\n".join(lines) + "\n"


def write_log(path: Path, document: Mapping[str, Any]) -> None:
    """Write the log of a result document; a field without a value is a comment that says so."""
    found, missing = [], []
    names = column_names([stage["name"] for stage in document["stages"]])
    for device, block in document["compat"].items():
        # A result file's keys are sorted; the log's lines are not.
        values = {name: block["fields"][name] for name in names if name in block["fields"]}
        known = {name: value for name, value in values.items() if value is not None}
        missing += [name for name in values if name not in known]
        found.append(Block(device, known))
    note = document["weights"]["label"]
    if accuracy.failed(document):
        note += "; accuracy failed"
    if missing:
        note += f"; n too small for: {', '.join(missing)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(log_text(found, note), encoding="utf-8")


def read_log(path: Path) -> list[Block]:
    """Return the blocks of a log, one per device.

    Raises:
        ResultFileError: the file is unreadable or holds a line the format does not know.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultFileError(f"{path}: cannot be read as a log ({error})") from error
    found: list[Block] = []
    for number, line in enumerate(lines, 1):
        head, entry = _HEAD.match(line), _FIELD.match(line)
        if head:
            found.append(Block(head["device"], {}))
        elif entry and found:
            values = dict(found[-1].fields)
            values[entry["name"]] = float(entry["value"])
            found[-1] = Block(found[-1].device, values)
        elif line.strip() and not line.startswith("#"):
            raise ResultFileError(f"{path}:{number}: not a line of the log format: {line[:60]!r}")
    if not found:
        raise ResultFileError(f"{path}: no '====dev[0]====' line; this is not such a log")
    return found
