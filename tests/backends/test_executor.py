from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from backends import pipeline
from backends.base import Backend, CompiledStage
from backends.errors import BackendError, OptionError
from backends.fake.backend import FakeBackend
from backends.timing import counters, layout, overhead
from backends.timing.columns import Columns
from backends.timing.disturbances import Causes
from backends.timing.executor import Executor
from tests.backends import small_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence


INPUTS = small_pipeline.INPUTS


def runner(**options: Any) -> Executor:
    backend = FakeBackend(options, "0")
    described = pipeline.parse(small_pipeline.plan())
    stages: dict[str, CompiledStage] = {
        stage.name: backend.load(stage, "force_float32", "", 1) for stage in described.stages
    }
    made = Executor(described, stages, backend, 1, 0)
    made.set_inputs(INPUTS)
    return made


def test_every_span_is_exact_on_a_virtual_clock() -> None:
    durations = "encoder:1000,decoder:10,postnet:300,waveglow:7000"
    answer = runner(durations=durations, glue_ns=5, steps=40).run(2, 0)
    columns = answer["columns"]
    assert columns["encoder_ns"] == [1000, 1000]
    assert columns["decoder_ns"] == [400, 400]
    assert columns["postnet_ns"] == [300, 300]
    assert columns["waveglow_ns"] == [7000, 7000]
    assert answer["glue"] == {
        "encoder": [0, 0],
        "decoder": [45, 45],
        "postnet": [5, 5],
        "waveglow": [10, 10],
    }
    assert columns["glue_ns"] == [60, 60]
    assert columns["residual_ns"] == [0, 0]
    assert columns["latency_ns"] == [8760, 8760]
    assert columns["start_ns"] == [0, 8760]


def test_what_lies_between_spans_is_residual_and_nothing_else() -> None:
    tick = 7
    columns = runner(bookkeeping_ns=tick, glue_ns=0, default_ns=0, durations="").run(1, 0)[
        "columns"
    ]
    # Three readings per stage and one at each end: glue and stage see one tick each.
    assert columns["encoder_ns"] == [tick]
    assert columns["glue_ns"] == [4 * tick]
    assert columns["latency_ns"] == [13 * tick]
    assert columns["residual_ns"] == [5 * tick]
    assert columns["post_ns"] == [tick]


def test_work_is_counted_padded_and_valid() -> None:
    made = runner(steps=33)
    made.set_inputs({"sequences": [[1, 2, 3, 4], [5, 6, 0, 0]], "sequence_lengths": [4, 2]})
    assert made.run(1, 0)["work"] == {
        "utterances": [2],
        "characters_padded": [8],
        "characters_valid": [6],
        "mel_frames_padded": [66],
        "mel_frames_valid": [66],
        "audio_samples_padded": [66 * 256],
        "audio_samples_valid": [66 * 256],
        "decoder_steps": [33],
    }


def test_loop_never_steps_beyond_its_limit() -> None:
    assert runner(steps=1000).run(1, 0)["work"]["decoder_steps"] == [64]


def test_iteration_is_the_same_whatever_block_it_is_in() -> None:
    options = {"noise": 0.1, "vary_steps": 4}
    whole = runner(**options).run(4, 0)
    made = runner(**options)
    made.run(2, 0)
    half = made.run(2, 2)
    for name in ("latency_ns", "decoder_ns"):
        assert whole["columns"][name][2:] == half["columns"][name]
    assert len(set(whole["columns"]["latency_ns"])) == 4


def test_warm_up_decays_and_slowdown_scales() -> None:
    slow = runner(warmup=1.0, warmup_iterations=5, durations="encoder:900").run(6, 0)["columns"]
    assert slow["encoder_ns"][0] == 1800
    assert slow["encoder_ns"][5] == 1200
    assert runner(slowdown=1.5, durations="encoder:900").run(1, 0)["columns"]["encoder_ns"] == [
        1350
    ]


class Watch:
    """Counts the collections that start while automatic ones are off."""

    def __init__(self) -> None:
        self.collections = 0

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        self.collections += phase == "start" and not gc.isenabled()


@pytest.fixture
def watch() -> Any:
    seen = Watch()
    gc.callbacks.append(seen)
    yield seen
    gc.callbacks.remove(seen)
    gc.unfreeze()


class Littering(CompiledStage):
    """Makes so many cycles that the collector would start by itself, were it on."""

    def run(self, tensors: Sequence[Any]) -> Sequence[Any]:  # noqa: ARG002 - the seam
        assert not gc.isenabled()
        for _ in range(2000):
            cycle: list[Any] = []
            cycle.append(cycle)
        return ()


def test_collector_runs_only_between_iterations_and_is_counted(watch: Watch) -> None:
    stage = pipeline.StagePlan("only", (), (), "", (), None, {})
    described = pipeline.PipelinePlan("litter", (), (), {}, (stage,))
    made = Executor(described, {"only": Littering()}, Backend({}, "0"), 0, 0)
    assert gc.isenabled()
    answer = made.run(25, 0, collect_every=10)
    assert answer["counters"]["gc_collections"] == 2
    assert watch.collections == 2
    assert gc.isenabled()
    made.close()
    assert gc.get_freeze_count() == 0


def test_collector_is_on_again_after_a_failure() -> None:
    made = runner(fail="run", fail_at=1)
    with pytest.raises(BackendError, match="scripted: encoder, iteration 1"):
        made.run(3, 0)
    assert gc.isenabled()
    assert made.run(1, 0)["count"] == 1


def test_timed_loop_keeps_nothing_from_iteration_to_iteration() -> None:
    made = runner()
    names = [stage.name for stage in made._schedule]

    def grown(count: int) -> int:
        columns = Columns(names, count)
        work: dict[str, Any] = {}
        causes = Causes(count)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        made._loop(columns, work, causes, count=count, start=0, collect_every=100)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        causes.close()
        return after - before

    grown(50)
    short, long = grown(50), grown(250)
    columns_of_work_bytes = 200 * 8 * 8  # made whole at the first iteration
    assert abs(long - short - columns_of_work_bytes) < 2000


class Wrong(CompiledStage):
    """Returns what it is told to."""

    def __init__(self, made: list[Any]) -> None:
        self._made = made

    def run(self, tensors: Sequence[Any]) -> Sequence[Any]:  # noqa: ARG002 - the seam
        return self._made


def with_encoder(stage: CompiledStage) -> Executor:
    made = runner()
    backend = made._backend
    stages = dict(made._stages, encoder=stage)
    changed = Executor(made._plan, stages, backend, 1, 0)
    changed.set_inputs(INPUTS)
    return changed


def test_stage_with_too_few_outputs_fails_by_name() -> None:
    with pytest.raises(BackendError, match="encoder returned 0 outputs, the plan says 3"):
        with_encoder(Wrong([])).once()


def test_tensor_of_another_shape_than_the_plan_says_fails_by_name() -> None:
    made = runner()
    backend = made._backend
    assert isinstance(backend, FakeBackend)
    sizes = {"batch": 1, "text": 4}
    outputs = [backend.tensor(spec, sizes, "x") for spec in made._plan.stages[0].outputs]
    with pytest.raises(BackendError, match=r"tensor memory has shape \[1, 4, 8\] where the plan"):
        with_encoder(Wrong(outputs)).once()


def test_unknown_output_is_an_error_not_an_empty_answer() -> None:
    made = runner()
    made.once()
    with pytest.raises(BackendError, match="no output 'melody' in this pipeline"):
        made.handle("melody")


def test_glue_that_reads_what_nothing_made_is_refused() -> None:
    described = small_pipeline.plan()
    described["stages"][2]["glue"][0]["args"]["tensor"] = "mel"
    parsed = pipeline.parse(described)
    with pytest.raises(OptionError, match="crop before postnet needs the tensor 'mel'"):
        layout.Layout(parsed)


def test_finish_of_the_backend_lies_in_the_last_stage_span() -> None:
    class Asynchronous(FakeBackend):
        def finish(self) -> None:
            self.spend(5000)

    backend = Asynchronous({"durations": "waveglow:100", "default_ns": 10, "steps": 1}, "0")
    described = pipeline.parse(small_pipeline.plan())
    stages: dict[str, CompiledStage] = {
        stage.name: backend.load(stage, "force_float32", "", 1) for stage in described.stages
    }
    made = Executor(described, stages, backend, 1, 0)
    made.set_inputs(INPUTS)
    columns = made.run(1, 0)["columns"]
    assert columns["waveglow_ns"] == [5100]
    assert columns["postnet_ns"] == [10]


def test_overhead_runs_the_same_loop_over_empty_stages() -> None:
    found = overhead.overhead(4, 50)
    assert 0 < found["median_ns"] <= found["p99_ns"]


def test_clock_is_described_by_its_successive_differences() -> None:
    reads = iter(range(0, 10**9, 3))
    facts = counters.clock_facts(lambda: next(reads), "virtual")
    assert facts["difference_ns"] == {"min": 3, "median": 3, "p999": 3}


@pytest.mark.parametrize(("p", "value"), [(0.5, 5), (0.99, 10), (0.999, 10), (0.1, 1), (0.11, 2)])
def test_nearest_rank_is_the_smallest_value_that_covers_the_share(p: float, value: int) -> None:
    assert counters.nearest_rank(list(range(1, 11)), p) == value
