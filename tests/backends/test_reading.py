"""Reading memory: how much is really read, by how many threads, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from backends.base import UsageError
from backends.plan import StagePlan
from backends.reading import ReadingBackend


def stage(**model: Any) -> StagePlan:
    return StagePlan("read", (), (), "calls", (), None, dict(model))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_byte_is_read_in_every_pass(threads: int) -> None:
    backend = ReadingBackend({}, "0")
    try:
        reader: Any = backend.load(
            stage(working_set_bytes=4096, passes=3, threads=threads), "force_float32", "", 1
        )
        rows = reader._rows
        assert len(rows) == threads
        assert sum(one.size for one in rows) * 4 == 3 * 4096
        # The parts lie side by side: none is read twice in a pass, none is left out.
        starts = sorted(one.__array_interface__["data"][0] for one in rows)
        assert starts == [starts[0] + place * 4096 // threads for place in range(threads)]
        assert reader.run(()) == [1.0]
    finally:
        backend.close()


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"working_set_bytes": 4096, "passes": 0, "threads": 1},
        {"working_set_bytes": 4096, "passes": 1, "threads": 3},
    ],
)
def test_a_working_set_that_makes_no_sense_is_refused(model: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        ReadingBackend({}, "0").load(stage(**model), "force_float32", "", 1)
