"""The integer columns of a run: one value for each iteration."""

from __future__ import annotations

from array import array
from typing import (
    Any,
    Dict,
    Sequence,
)

Column = Any  # array("q"), which is no generic type at run time


class Columns:
    """Integer nanoseconds, one per iteration."""

    def __init__(self, names: Sequence[str], count: int) -> None:
        self.start = as_column(count)
        self.latency = as_column(count)
        self.post = as_column(count)
        self.glue = {name: as_column(count) for name in names}
        self.stage = {name: as_column(count) for name in names}

    def answer(self) -> Dict[str, Any]:
        """Return the columns as docs/protocol.md names them; the residual is what is left."""
        glue_ns = [sum(row) for row in zip(*self.glue.values())]
        stages_ns = [sum(row) for row in zip(*self.stage.values())]
        columns = {"start_ns": self.start.tolist(), "latency_ns": self.latency.tolist()}
        for name, column in self.stage.items():
            columns[name + "_ns"] = column.tolist()
        columns["glue_ns"] = glue_ns
        columns["residual_ns"] = [
            latency - stages - glue
            for latency, stages, glue in zip(self.latency, stages_ns, glue_ns)
        ]
        columns["post_ns"] = self.post.tolist()
        glue = {name: column.tolist() for name, column in self.glue.items()}
        return {"columns": columns, "glue": glue}


def as_column(count: int) -> Column:
    """Return a column of zeros, one for each iteration."""
    return array("q", bytes(8 * count))
