"""The original's own figures, digit for digit, and its log file. Label `compat`: never a verdict.

Formulas and field names are those of the measurement method, section 3.1: means of per-iteration
ratios on padded counts, standard deviation with divisor n, cl figures by truncated rank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import accuracy, statistics
from harness.errors import ResultFileError
from harness.metrics import CL
from harness.names import file_name
from harness.series import WHOLE, Series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MELS = "Number of mels per audio average"
THROUGHPUT = "Throughput average (samples/sec)"
PRE = "Preprocessing average (seconds)"
POST = "Postprocessing average (seconds)"
ITEMS_PER_SECOND = "tacotron2_items_per_sec average"
WORTH = "cl N is a rank, not a percentile with an interval: its mean coverage is k / (n + 1)"
_HEAD = re.compile(r"^=+dev\[(?P<device>[^\]]*)\]=+$")
_FIELD = re.compile(r"^(?P<name>\S.*?) = (?P<value>-?[0-9.]+(?:e[+-]?[0-9]+)?)$")


@dataclass(frozen=True)
class Block:
    """The lines one device has in a log: field name -> value, in order."""

    device: str
    fields: Mapping[str, float] = field(default_factory=dict)


def _stage(stage: str) -> str:
    return f"{stage.capitalize()} latency average (seconds)"


def _cl(percent: int) -> str:
    return f"Latency cl {percent} (seconds)"


def fields(series: Series) -> dict[str, float | None]:
    """Return the original's fields in its order; None where its rule has no value (n too small).

    `series` holds the steady iterations of one device. Fields that need the vocoder are there
    only when it ran, as in the original.
    """
    latency = np.concatenate(series.seconds(WHOLE))
    ordered = np.sort(latency)
    frames, utterances = _all(series.work("mel_frames_padded")), _all(series.work("utterances"))
    acoustic = np.concatenate(series.seconds(next(iter(series.parts), WHOLE)))
    samples = series.work("audio_samples_padded")
    found: dict[str, float | None] = {
        PRE: _mean(series, "pre"),
        MELS: float((frames / utterances).mean()),
        "Latency average (seconds)": float(latency.mean()),
        "Latency std (seconds)": float(latency.std()),
        ITEMS_PER_SECOND: float((frames / acoustic).mean()),
    }
    if samples:
        found[THROUGHPUT] = float((_all(samples) / latency).mean())
        found[POST] = _mean(series, "post")
    for stage in series.stages:
        found[_stage(stage)] = _mean(series, f"{stage}_execute")
    for percent in CL:
        found[_cl(percent)] = statistics.cl(ordered, percent)
    return {name: found[name] for name in _names(series.stages) if name in found}


def _names(stages: Sequence[str]) -> list[str]:
    """Return every field a log can have, in the original's order."""
    return [
        THROUGHPUT,
        PRE,
        POST,
        MELS,
        *(_stage(stage) for stage in stages),
        "Latency average (seconds)",
        "Latency std (seconds)",
        *(_cl(percent) for percent in CL),
        ITEMS_PER_SECOND,
    ]


def _all(samples: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(samples)


def _mean(series: Series, subject: str) -> float:
    return float(np.concatenate(series.seconds(subject)).mean())


def blocks(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `compat` part of a result document: one entry per device.

    Work that makes no mel frames is none the original ever measured: it has no entry.
    """
    devices = dict.fromkeys(process["device"] for process in document["processes"])
    found = {}
    for device in devices:
        series = Series(document, device, compat=True)
        if series.processes and series.work("mel_frames_padded"):
            n = sum(len(one) for one in series.seconds(WHOLE))
            found[device] = {"n": n, "fields": fields(series), "worth": WORTH}
    return found


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
    names = _names([stage["name"] for stage in document["stages"]])
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
