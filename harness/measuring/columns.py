"""Collects the columns of one process as its answers arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping


def append(record: dict[str, Any], answer: Mapping[str, Any], *pre_ns: int) -> None:
    """Add iterations to a process, with the nanoseconds the text of each took."""
    backwards = [name for name, values in answer["columns"].items() if min(values, default=0) < 0]
    if backwards:
        raise WorkerError(f"the worker's clock ran backwards: {', '.join(backwards)} below zero")
    for group in ("columns", "glue", "work", "causes"):
        for name, values in answer.get(group, {}).items():
            record[group].setdefault(name, []).extend(values)
    record["columns"].setdefault("pre_ns", []).extend(pre_ns)
    for name, value in answer["counters"].items():
        record["counters"][name] = record["counters"].get(name, 0) + value
    record.setdefault("clock", answer["clock"])
