"""What the terminal shows: results on standard output, progress and notices on standard error."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from harness import accuracy, modes
from harness.metrics import CL
from harness.precision import precision_text
from harness.units import duration, quantity, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.advice import Finding
    from harness.config import Measure
    from harness.forecast import Forecast, Total

REFRESH_S = 0.2
BAR = 30
PLAIN_EVERY_S = 10.0
"""Without a terminal a line is written on a change of phase, and at most this often otherwise."""


class Console:
    """Writes to the two streams; knows nothing of how a result came about."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._live = self._err.isatty()
        self._shown = ""
        self._last = ("", 0.0)

    def notice(self, message: str) -> None:
        """Say something a reader should know, once."""
        self._clear()
        self._err.write(f"harness: {message}\n")
        self._err.flush()

    def urgent(self, message: str) -> None:
        """Say something from a signal handler: past the buffer, which may be in use just then."""
        clear = "\r\x1b[2K" if self._live else ""
        line = f"{clear}harness: {message}\n"
        try:
            os.write(self._err.fileno(), line.encode())
        except (OSError, ValueError):  # no file of the system's behind it, or nobody reads it
            return

    def say(self, line: str = "") -> None:
        """Write one line of the result."""
        self._clear()
        self._out.write(line + "\n")
        self._out.flush()

    def plan(self, rows: Sequence[Forecast], total: Total, folder: Path | None) -> None:
        """Show what is going to be measured, how long it takes and how much it writes."""
        count = len(rows)
        where = "" if folder is None else f" -> {folder}"
        self.say(f"{count} point{'s' if count != 1 else ''}{where}")
        for label in dict.fromkeys(row.planned.weights["label"] for row in rows):
            self.say(f"models: {label}")
        for line in dict.fromkeys(_method(row.planned.config.measure) for row in rows):
            self.say(line)
        table = [["", "point", "id", "compiled", "time", "disk", ""]]
        table += [_planned(number, row) for number, row in enumerate(rows, 1)]
        for line in _aligned(table, left={1, 2, 3, 6}):
            self.say(line)
        time_left = "unknown time" if total.seconds is None else duration(total.seconds)
        about = "at most" if total.is_bound else "about"
        self.say(
            f"{sum(row.to_measure for row in rows)} to measure: {about} {time_left}, "
            f"about {size(total.size_bytes)} of {size(total.free_bytes)} free"
        )
        self.say()

    def progress(
        self, number: int, total: int, name: str, phase: str, left_s: float | None
    ) -> None:
        """Show which point is being worked on, the stage of work, and the time left."""
        left = "" if left_s is None else f", about {duration(left_s)} left"
        line = f"point {number} of {total}  {name}  {phase}{left}"
        self._show(line, f"{number} {phase.split(maxsplit=1)[0]}")

    def received(self, name: str, have: int, total: int | None) -> None:
        """Show how much of a file has been received."""
        share = "" if not total else f" of {total / 1e6:,.1f} MB  {_bar(have / total)}"
        self._show(f"{name}  {have / 1e6:,.1f}{share or ' MB'}", name)

    def _show(self, line: str, word: str) -> None:
        """Show a line that passes; `word` changes where a log should hold one more line."""
        at = time.monotonic()
        kind, then = self._last
        if self._live:
            if at - then >= REFRESH_S or kind != word:
                self._err.write(f"\r\x1b[2K{line}")
                self._err.flush()
                self._shown, self._last = line, (word, at)
        elif kind != word or at - then >= PLAIN_EVERY_S:
            self._err.write(line + "\n")
            self._err.flush()
            self._last = (word, at)

    def _clear(self) -> None:
        if self._shown:
            self._err.write("\r\x1b[2K")
            self._err.flush()
            self._shown = ""

    def point(self, number: int, total: int, document: Mapping[str, Any]) -> None:
        """Write the two lines of a finished point."""
        state, reason = document["status"]["state"], document["status"]["reason"]
        head = f"[{number}/{total}] {_settings(document)}"
        if not document["summary"]:
            self.say(f"{head}   {state}: {reason}")
            self.say(f"      nothing measured; {document['weights']['label']}")
            return
        ok = "" if state == "ok" else f"   {state}: {reason}"
        ok += "   accuracy failed" * accuracy.failed(document)
        self.say(f"{head}   {_headline(document)}{ok}")
        self.say(f"      {_stages(document)}")
        for line in _accuracy(document):
            self.say(f"      {line}")
        if document["devices"]:
            self.say(f"      {_devices(document)}")

    def table(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Write the detail: cl figures and items/s of every stage and of the whole."""
        rows: list[list[str]] = []
        labels: dict[str, None] = {}
        limits, seen = _Limits(), list[modes.Mode]()
        for document in documents:
            limits.add(document)
            if (one := modes.mode(document)) is not None:
                seen.append(one)
            found = _rows(document)
            rows += found
            if found:
                labels[document["weights"]["label"]] = None
        if not rows:
            return
        header = ["point", "stage", "mean", *(f"cl {p}" for p in CL), "items/s", "items"]
        for line in _aligned([header, *rows], left={0, 1, 9}):
            self.say(line)
        self.say(f"cl N as the original computes it, in ms; models: {'; '.join(labels)}")
        for finding, names in modes.warnings(seen):
            limits.note(finding, names)
        for line in limits.lines():
            self.say(line)


class _Limits:
    """Each kind of warning and of reason against a better grade once, with its points."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        self._points = 0

    def add(self, document: Mapping[str, Any]) -> None:
        """Look at one document, and keep only what is said of it."""
        self._points += 1
        name = document["point"]["name"]
        for one in document["warnings"]:
            self._note(one["severity"], one["code"], one["advice"], (one["seen"], name))
        for one in document["grade"].get("latency.mean", {}).get("reasons", ()):
            rank = f"no better than {one['letter']}"
            self._note(rank, one["code"], one["advice"], (one["text"], name))

    def note(self, finding: Finding, names: Sequence[str]) -> None:
        """Add what concerns several points together."""
        self._note(finding.severity, finding.code, finding.advice, (finding.seen, ", ".join(names)))

    def _note(self, rank: str, code: str, advice: str, said: tuple[str, str]) -> None:
        self._found.setdefault((rank, code, advice), []).append(said)

    def lines(self) -> Iterator[str]:
        """Yield the gravest first; of what differs from point to point, the first point's words."""
        for (rank, code, advice), said in sorted(self._found.items(), key=_gravity):
            del code
            yield f"{rank}: {said[0][0]}{self._where(said)} -> {advice}"

    def _where(self, said: Sequence[tuple[str, str]]) -> str:
        if self._points == 1:
            return ""
        alike = len({text for text, _ in said}) == 1
        if len(said) == self._points:
            return " (every point)" if alike else f" ({said[0][1]}; every point has the like)"
        more = len(said) - 1
        return f" ({said[0][1]}{f' and {more} more' if more else ''})"


GRAVEST_FIRST = ("error", "no better than F", "no better than D", "warning", "no better than C")


def _gravity(one: tuple[tuple[str, str, str], list[tuple[str, str]]]) -> tuple[int, str]:
    rank, code, _ = one[0]
    known = rank in GRAVEST_FIRST
    return (GRAVEST_FIRST.index(rank) if known else len(GRAVEST_FIRST)), code


def _devices(document: Mapping[str, Any]) -> str:
    """Return what each device did, and how well they worked together."""
    found = document["devices"]
    items = document["items"][document["stages"][-1]["produces"]]
    each = " | ".join(
        f"device {device} {'-' if rate is None else quantity(rate)}"
        for device, rate in found["items_per_s"].items()
    )
    if not found["rounds"]:
        return f"{each} {items}/s; no round in which all devices worked together"
    skew = max(one["skew_s"] for one in found["rounds"])
    overlap = min(share for one in found["rounds"] for share in one["overlap"].values())
    imbalance = "" if found["imbalance"] is None else f", imbalance {found['imbalance']:.3f}"
    return (
        f"{each} {items}/s, together as above; common window {overlap:.0%}, "
        f"skew {seconds(skew)}{imbalance}"
    )


def _method(measure: Measure) -> str:
    """Return in one line how much of a point is measured."""
    limit = "no limit" if measure.time_limit_s is None else duration(measure.time_limit_s)
    processes = f"{measure.min_processes}"
    if measure.max_processes > measure.min_processes:
        processes += f" to {measure.max_processes}"
    return (
        f"measure={measure.profile.value}: {processes} fresh processes a point, "
        f"{measure.warmup_iters} warm-up + {measure.num_iters} timed iterations each, "
        f"time limit {limit} a point"
    )


def _planned(number: int, row: Forecast) -> list[str]:
    if not row.to_measure:
        cells = ["", "", ""]
    else:
        sign = "" if row.measured_before else "<= "
        expected = "unknown" if row.seconds is None else sign + duration(row.seconds)
        cells = ["cached" if row.cached else "no", expected, size(row.size_bytes)]
    side = row.planned.side.value
    name = row.planned.point.name if side == "candidate" else f"{side}: {row.planned.point.name}"
    return [f"{number}.", name, row.planned.point.id, *cells, row.fate]


def _bar(share: float) -> str:
    done = round(min(1.0, share) * BAR)
    return f"[{'#' * done}{'.' * (BAR - done)}] {share:4.0%}"


def _accuracy(document: Mapping[str, Any]) -> Iterator[str]:
    record = document.get("accuracy") or {}
    if accuracy.failed(document):
        for line in accuracy.lines(record, document["point"]["config"]["quant"]):
            yield f"accuracy failed: {line}"
    elif record.get("state") == "not checked" and record["reason"]:
        yield f"accuracy not checked: {record['reason']}"


def _settings(document: Mapping[str, Any]) -> str:
    config = document["point"]["config"]
    parts = [f"bs={config['bs']}", f"quant={config['quant']}", f"il={config['il']}"]
    if config["backend"]["name"] != "onnxruntime":
        parts.append(f"backend={config['backend']['name']}")
    if config["waveglow"]:
        parts.append("waveglow")
    side = (document.get("campaign") or {}).get("side", "candidate")
    return " ".join(parts if side == "candidate" else [f"{side}:", *parts])


def _estimate(document: Mapping[str, Any], key: str) -> float | None:
    record = document["summary"].get(key)
    return None if record is None else record["estimate"]


def _figure(document: Mapping[str, Any], key: str) -> str:
    value = _estimate(document, key)
    return "n too small" if value is None else seconds(value)


def _headline(document: Mapping[str, Any]) -> str:
    last = document["stages"][-1]
    items = document["items"][last["produces"]]
    rate, times = (
        _estimate(document, "latency.items_per_s"),
        _estimate(document, "latency.x_realtime"),
    )
    record = document["summary"]["latency.mean"]
    parts = [
        f"cl50 {_figure(document, 'latency.cl50')}",
        f"cl99 {_figure(document, 'latency.cl99')}",
        f"{quantity(rate)} {items}/s" if rate is not None else f"no {items}/s",
    ]
    if times is not None:
        parts.append(f"x real time {times:.1f}")
    parts.append(f"{record['n']} iterations in {len(document['processes'])} processes")
    return "   ".join(parts)


def _stages(document: Mapping[str, Any]) -> str:
    parts = []
    for stage in document["stages"]:
        text = f"{stage['name']} {_figure(document, stage['name'] + '.mean')}"
        if stage["step_limit"] is not None:
            text += _steps(document, stage["name"])
        text += _share(document, stage["name"])
        parts.append(text)
    parts.append(f"residual {_figure(document, 'residual.mean')}")
    grade = document["grade"]["latency.mean"]["letter"]
    return (
        f"{' | '.join(parts)}   {_precision(document)}; grade {grade}; "
        f"{document['weights']['label']}"
    )


def _share(document: Mapping[str, Any], stage: str) -> str:
    """Return how near a stage comes to what its device can do; nothing where that is not known."""
    found = (document.get("roofline") or {}).get(stage) or {}
    if found.get("share") is None:
        return ""
    return f" {found['share']:.0%} of {found['limit']}"


def _steps(document: Mapping[str, Any], stage: str) -> str:
    steps = {
        value
        for process in document["processes"]
        for value in process["work"].get(f"{stage}_steps", [])
    }
    if not steps:
        return ""
    least, most = min(steps), max(steps)
    return f" ({least} steps)" if least == most else f" ({least}-{most} steps)"


def _precision(document: Mapping[str, Any]) -> str:
    return f"ran as {precision_text(document) or 'unknown precision'}"


def _rows(document: Mapping[str, Any]) -> list[list[str]]:
    summary = document["summary"]
    if not summary:
        return []
    mark, rows = " (accuracy failed)" * accuracy.failed(document), []
    for subject in ["latency", *(stage["name"] for stage in document["stages"])]:
        figures = [_estimate(document, f"{subject}.{name}") for name in ["mean", *_cl_names()]]
        rate = _estimate(document, f"{subject}.items_per_s")
        produces = {stage["name"]: stage["produces"] for stage in document["stages"]}
        items = document["items"][produces.get(subject, document["stages"][-1]["produces"])]
        rows.append(
            [
                _settings(document),
                ("whole" if subject == "latency" else subject) + mark,
                *("n too small" if value is None else f"{value * 1e3:,.3f}" for value in figures),
                "-" if rate is None else quantity(rate),
                items,
            ]
        )
    return rows


def _cl_names() -> list[str]:
    return [f"cl{p}" for p in CL]


def _aligned(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
