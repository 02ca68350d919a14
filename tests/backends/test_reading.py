"""Reading: which memory, by which reduction, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends import pipeline
from backends.errors import OptionError, UnsupportedError
from backends.yardsticks import memory
from harness.studies import limit_workloads


def stage(model: dict[str, Any]) -> pipeline.StagePlan:
    """Return a stage whose model is as given."""
    return pipeline.StagePlan("l2_1", (), (), "passes", (), None, model)


def load(backend: memory.ReadingBackend, **place: Any) -> memory.Reader:
    """Return the reader of a place."""
    found = backend.load(stage({"reads": place}), "force_float32", "", 1)
    assert isinstance(found, memory.Reader)
    return found


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_smaller_place_is_what_a_larger_one_reads_last(threads: int) -> None:
    backend = memory.ReadingBackend({}, "0")
    larger, smaller = (
        backend._parts(memory.Region(size, threads, 1)) for size in (1 << 16, 1 << 12)
    )
    assert len(larger) == len(smaller) == threads
    for one, other in zip(larger, smaller, strict=True):
        assert np.shares_memory(one, other)
        assert other.ctypes.data + other.nbytes == one.ctypes.data + one.nbytes
    for index, one in enumerate(larger):  # no thread reads what another does
        assert not any(np.shares_memory(one, other) for other in larger[index + 1 :])


def test_a_pass_reads_every_word_and_all_passes_are_one_call() -> None:
    backend = memory.ReadingBackend({}, "0")
    one = load(backend, bytes=1 << 12, threads=2, passes=3)
    assert [rows.shape for rows in one._rows] == [(3, 256), (3, 256)]
    for place, found in enumerate(one._found):
        part = np.array_split(backend._words, 2)[place]
        part[-1] = 7 + 8 * place  # the last word, seen in what each pass finds
        one.run(())
        assert found.tolist() == [7 + 8 * place] * 3
    one.close()


def test_the_quickest_reduction_of_the_place_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = {np.bitwise_or.reduce: 2.0, np.maximum.reduce: 1.0}
    monkeypatch.setattr(memory.Reader, "_seconds", lambda self: spent[self._reduce])
    one = load(memory.ReadingBackend({}, "0"), bytes=4096, threads=1, passes=1)
    assert one.effective()["source"].endswith("by numpy.maximum")


def test_it_runs_no_model() -> None:
    with pytest.raises(UnsupportedError, match="runs no model, so no 'l2_1'"):
        memory.ReadingBackend({}, "0").load(stage({"file": "m.onnx"}), "force_float32", "", 1)


@pytest.mark.parametrize(
    "place",
    [
        {"bytes": 8, "threads": 2, "passes": 1},
        {"bytes": 64, "threads": 0, "passes": 1},
        {"bytes": 64, "threads": 1, "passes": 0},
        {"bytes": 64, "threads": 1},
        {"bytes": "64", "threads": 1, "passes": 1},
        {"bytes": 64, "threads": 1, "passes": 1, "more": 1},
    ],
)
def test_what_is_no_place_is_refused_in_one_line(place: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"^l2_1 reads [^\n]+$"):
        load(memory.ReadingBackend({}, "0"), **place)


def test_another_place_is_another_point() -> None:
    places = [{"l2_1": {"bytes": size, "threads": 1, "passes": 1}} for size in (8, 16)]
    first, second = (limit_workloads.reading_models(one)["l2_1"]["sha256"] for one in places)
    assert first != second
