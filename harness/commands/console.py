"""What the terminal shows: results on standard output, progress and notices on standard error."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from harness.analysis import accuracy
from harness.analysis.metrics import CL, RESPONSE, headline, subject_words, withheld
from harness.analysis.series import WHOLE
from harness.commands.remarks import Remarks
from harness.judging import precision_check
from harness.plain_text import plain, plain_lines
from harness.records.precision import precision_text
from harness.units import duration, quantity, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.config.measure import Measure
    from harness.planning.forecast import Forecast, Total


REFRESH_S = 0.2
BAR = 30
BY_SCHEDULE = (
    "response: from when a request was due to when it was done; service time: from when it was sent"
)
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
        self._err.write(f"harness: {plain(message)}\n")
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
        self._out.write(plain_lines(line) + "\n")
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
        line, at = plain(line), time.monotonic()
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

    def point(self, number: int, total: int, name: str, document: Mapping[str, Any]) -> None:
        """Write the two lines of a finished point."""
        state, reason = document["status"]["state"], document["status"]["reason"]
        head = f"[{number}/{total}] {name}"
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

    def table(self, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write the detail: cl figures and items/s of every stage and of the whole.

        Args:
            documents: what each point is called, and its result.
        """
        rows: list[list[str]] = []
        labels: dict[str, None] = {}
        limits, seen, by_schedule = Remarks(), list[precision_check.Mode](), False
        for name, document in documents:
            limits.add(document)
            by_schedule |= headline(document) == RESPONSE
            if (one := precision_check.mode(document)) is not None:
                seen.append(one)
            found = _rows(name, document)
            rows += found
            if found:
                labels[document["weights"]["label"]] = None
        if not rows:
            return
        header = ["point", "stage", "mean", *(f"cl {p}" for p in CL), "items/s", "items"]
        for line in _aligned([header, *rows], left={0, 1, 9}):
            self.say(line)
        self.say(
            "cl N as the original computes it, in ms, of all iterations but the warm-up asked for; "
            f"models: {'; '.join(labels)}"
        )
        if by_schedule:
            self.say(BY_SCHEDULE)
        for finding, names in precision_check.warnings(seen):
            limits.note(finding, names)
        for line in limits.lines():
            self.say(line)


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


def _method(settings: Measure) -> str:
    """Return how much is measured of a point."""
    limit = "no limit" if settings.time_limit_s is None else duration(settings.time_limit_s)
    processes = f"{settings.min_processes}"
    if settings.max_processes > settings.min_processes:
        processes += f" to {settings.max_processes}"
    return (
        f"measure={settings.profile.value}: {processes} fresh processes a point, "
        f"{settings.warmup_iters} warm-up + {settings.num_iters} timed iterations each, "
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
        how = "could not be" if accuracy.at_fault(document) else "not"
        yield f"accuracy {how} checked: {record['reason']}"


def _estimate(document: Mapping[str, Any], key: str) -> float | None:
    record = document["summary"].get(key)
    return None if record is None else record["estimate"]


def _figure(document: Mapping[str, Any], key: str) -> str:
    value = _estimate(document, key)
    return withheld(document["summary"].get(key)) if value is None else seconds(value)


def _both(document: Mapping[str, Any], subject: str, kind: str) -> str:
    """Return a time in its middle and at its slow end: by percentile (`p`), or by rank (`cl`)."""
    words = subject_words(document, subject)
    parts = [f"{kind}{share} {_figure(document, f'{subject}.{kind}{share}')}" for share in (50, 99)]
    return "   ".join(parts) if words == WHOLE else f"{words} {'   '.join(parts)}"


def _headline(document: Mapping[str, Any]) -> str:
    return _answered(document) if headline(document) == RESPONSE else _ran(document)


def _answered(document: Mapping[str, Any]) -> str:
    """Return what those who sent requests saw, and how long serving one took."""
    record = document["summary"][f"{RESPONSE}.mean"]
    rate = _estimate(document, f"{RESPONSE}.requests_per_s")
    parts = [
        _both(document, RESPONSE, "p"),
        _both(document, WHOLE, "p"),
        "no rate" if rate is None else f"{quantity(rate)} requests/s completed",
        f"{record['n']} requests in {len(document['processes'])} processes",
    ]
    return "   ".join(parts)


def _ran(document: Mapping[str, Any]) -> str:
    last = document["stages"][-1]
    items = document["items"][last["produces"]]
    rate, times = (
        _estimate(document, "latency.items_per_s"),
        _estimate(document, "latency.x_realtime"),
    )
    record = document["summary"]["latency.mean"]
    parts = [
        _both(document, WHOLE, "cl"),
        f"{quantity(rate)} {items}/s" if rate is not None else f"no {items}/s",
    ]
    if times is not None:
        parts.append(f"x real time {times:.1f}")
    parts.append(f"{record['n']} iterations in {len(document['processes'])} processes")
    original = document["summary"]["latency.cl50"]["n"]  # counts what a longer warm-up left out
    if original != record["n"]:
        parts[-1] += f", cl of {original}"
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
    grade = document["grade"][f"{headline(document)}.mean"]["letter"]
    before = "service time: " if headline(document) == RESPONSE else ""
    return (
        f"{before}{' | '.join(parts)}   {_precision(document)}; grade {grade}; "
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


def _rows(name: str, document: Mapping[str, Any]) -> list[list[str]]:
    summary = document["summary"]
    if not summary:
        return []
    mark, rows = " (accuracy failed)" * accuracy.failed(document), []
    subjects = [headline(document), WHOLE, *(stage["name"] for stage in document["stages"])]
    for subject in dict.fromkeys(subjects):
        counted = "requests_per_s" if subject == RESPONSE else "items_per_s"
        rate = _estimate(document, f"{subject}.{counted}")
        words = subject_words(document, subject)
        rows.append(
            [
                name,
                ("whole" if words == WHOLE else words) + mark,
                *(_milliseconds(summary[f"{subject}.{key}"]) for key in ("mean", *_cl_names())),
                "-" if rate is None else quantity(rate),
                _items(document, subject),
            ]
        )
    return rows


def _milliseconds(record: Mapping[str, Any]) -> str:
    value = record["estimate"]
    return withheld(record) if value is None else f"{value * 1e3:,.3f}"


def _items(document: Mapping[str, Any], subject: str) -> str:
    """Return the name of what a subject's rate counts."""
    if subject == RESPONSE:
        return "requests"
    produces = {stage["name"]: stage["produces"] for stage in document["stages"]}
    named: str = document["items"][produces.get(subject, document["stages"][-1]["produces"])]
    return named


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
