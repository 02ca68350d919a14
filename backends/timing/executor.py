"""Walks the stages of a plan and times each: the loop every number comes from.

Measurement method 2: raw `perf_counter_ns` reads, columns allocated beforehand and written by
index, garbage collection only between iterations. Nothing inside the span logs, grows or asks.
In every iteration latency = sum of stages + glue + residual, exactly and in integers.
"""

from __future__ import annotations

import gc
import time
from operator import itemgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from backends.errors import BackendError, OptionError
from backends.timing import counters
from backends.timing.columns import Column, Columns, as_column
from backends.timing.disturbances import Causes, NoCauses
from backends.timing.layout import Layout
from backends.timing.outputs import Outputs
from backends.timing.schedule import Due

if TYPE_CHECKING:
    from backends.base import Backend, CompiledStage, Work
    from backends.pipeline import GlueStep, PipelinePlan, Tensor


COLLECT_EVERY = 100
"""Iterations between two garbage collections (measurement method 2.2)."""

Run = Callable[[Sequence[Any]], Sequence[Any]]
Pick = Callable[[List[Any]], Sequence[Any]]
Asked = Union[Causes, NoCauses]
LEAD_NS = 1_000_000
"""Between the making of a schedule and its start."""


class Scheduled(NamedTuple):
    """One stage as the timed loop sees it."""

    name: str
    glue: Tuple[Tuple[int, Work], ...]
    pick: Pick
    """From the tensor slots to the model's inputs."""
    run: Run
    span: slice
    """The slots of the model's outputs."""


class Executor:
    """Runs iterations of a loaded pipeline.

    Args:
        plan: the pipeline.
        stages: every stage of the plan, loaded.
        backend: what made them.
        seed: of the noise; iteration i draws from (seed, i).
        epoch_ns: where `start_ns` counts from.
    """

    def __init__(
        self,
        plan: PipelinePlan,
        stages: Dict[str, CompiledStage],
        backend: Backend,
        seed: int,
        epoch_ns: int,
    ) -> None:
        self._plan = plan
        self._stages = stages
        self._backend = backend
        self._epoch_ns = epoch_ns
        self._clock = backend.clock or time.perf_counter_ns
        self.clock_facts = counters.clock_facts(
            self._clock, "perf_counter" if backend.clock is None else "virtual"
        )
        self._layout = Layout(plan)
        self._outputs = Outputs(plan, self._layout, backend)
        self._seed = seed
        self._schedule = self._build()
        self._empty: List[Any] = [None] * len(self._layout.tensors)
        self._values = list(self._empty)

    # Before the first iteration

    def _build(self) -> Tuple[Scheduled, ...]:
        scheduled: List[Scheduled] = []
        for stage, slots in zip(self._plan.stages, self._layout.stages):
            works = self._placing() if not scheduled else []
            works += [(slot, self._work(step)) for slot, step in slots.glue]
            run = self._stages[stage.name].run
            span = slice(slots.first, slots.last)
            scheduled.append(Scheduled(stage.name, tuple(works), _picking(slots.needs), run, span))
        finish = self._backend.finish
        if finish is not None and scheduled:
            last = scheduled[-1]
            scheduled[-1] = last._replace(run=_finished(last.run, finish))
        return tuple(scheduled)

    def _work(self, step: GlueStep) -> Work:
        own = self._backend.glue(step)
        if own is not None:
            return own
        from backends.timing import glue

        return glue.build(step, self._backend, self._seed)

    def _placing(self) -> List[Tuple[int, Work]]:
        """Return what brings the pipeline's inputs to the device: the first stage's glue."""
        return [
            (slot, _place(self._backend.from_host, host))
            for slot, host in self._layout.host.items()
        ]

    def set_inputs(self, inputs: Dict[str, Any]) -> None:
        """Make host arrays of nested lists, in the dtypes the models declare.

        Raises:
            UsageError: an input is missing, unknown, ragged, or disagrees about a size.
        """
        names = [tensor.name for tensor in self._plan.inputs]
        if sorted(inputs) != sorted(names):
            raise OptionError(
                f"the pipeline takes the inputs {', '.join(names)}; found: "
                f"{', '.join(sorted(inputs)) or 'none'}"
            )
        self._empty = [None] * len(self._layout.tensors)
        sizes: Dict[str, int] = {}
        for tensor, host in zip(self._plan.inputs, self._layout.host.values()):
            array_ = self._backend.make_input(inputs[tensor.name], tensor, self._dtype(tensor))
            for dim, found in zip(tensor.dims, array_.shape):
                symbol = dim[0] if len(dim) == 1 else None
                if isinstance(symbol, str) and sizes.setdefault(symbol, found) != found:
                    raise OptionError(
                        f"input {tensor.name} has {symbol}={found}, another has {sizes[symbol]}"
                    )
            self._empty[host] = array_
        self._layout.sizes.clear()
        self._layout.sizes.update(sizes)
        self._schedule = self._build()
        self._values[:] = self._empty

    def _dtype(self, tensor: Tensor) -> str:
        """Return the dtype the models declare for an input where they do, else the plan's."""
        declared = set()
        for stage in self._plan.stages:
            if any(needed.name == tensor.name for needed in stage.inputs):
                declared.add(self._stages[stage.name].input_dtype(tensor.name) or tensor.dtype)
        if len(declared) > 1:
            raise BackendError(
                f"input {tensor.name}: the models declare different dtypes: "
                f"{', '.join(sorted(declared))}"
            )
        return declared.pop() if declared else tensor.dtype

    # The timed loop

    def run(
        self,
        count: int,
        start: int,
        collect_every: int = COLLECT_EVERY,
        *,
        schedule: Optional[Sequence[int]] = None,
        watch: bool = True,
        keep: bool = False,
    ) -> Dict[str, Any]:
        """Time `count` iterations, numbered from `start`; return the answer of the run verb.

        Args:
            count: iterations.
            start: number of the first.
            collect_every: iterations between two garbage collections.
            schedule: when each iteration is due, in ns from now; None: when the last has ended.
            watch: ask what disturbs each iteration.
            keep: leave the tensors of the last iteration where they are, until `release`.
        """
        columns = Columns([stage.name for stage in self._schedule], count)
        work: Dict[str, Column] = {}
        watch = watch and self._backend.clock is None and schedule is None
        causes: Asked = Causes(count) if watch else NoCauses()
        if schedule is not None:
            causes = Due(self._clock() + LEAD_NS, schedule, self._backend)
        try:
            with _NoCollection():
                before = counters.usage()
                collections = self._loop(
                    columns, work, causes, count=count, start=start, collect_every=collect_every
                )
                after = counters.usage()
        finally:
            causes.close()
            if not keep:
                self.release()
        answer: Dict[str, Any] = {"count": count}
        answer.update(columns.answer())
        answer["work"] = {name: column.tolist() for name, column in work.items()}
        answer["counters"] = dict(counters.difference(before, after), gc_collections=collections)
        answer["causes"] = causes.answer()
        if isinstance(causes, Due):
            answer["columns"]["scheduled_ns"] = [due - self._epoch_ns for due in causes.times]
        answer["clock"] = self.clock_facts
        return answer

    def _loop(
        self,
        columns: Columns,
        work: Dict[str, Column],
        causes: Asked,
        *,
        count: int,
        start: int,
        collect_every: int,
    ) -> int:
        """Fill the columns; return how many garbage collections ran between iterations."""
        clock, values, empty = self._clock, self._values, self._empty
        latency, begun, post = columns.latency, columns.start, columns.post
        epoch, begin_hook, slots = self._epoch_ns, self._backend.begin, len(empty)
        outputs = self._outputs
        deliver, asking, asked = outputs.deliver, causes.before, causes.after
        schedule = [
            (*stage[1:], columns.glue[stage.name], columns.stage[stage.name])
            for stage in self._schedule
        ]
        collections = 0
        for index in range(count):
            # Tensors are freed here, outside the spans, not when the next ones replace them.
            values[:] = empty
            if index and index % collect_every == 0:
                gc.collect()
                collections += 1
                causes.collected(index)
            number = start + index
            begin_hook(number)
            asking(index)
            begin = clock()
            for glue, pick, run, span, glue_column, stage_column in schedule:
                opened = clock()
                for slot, do in glue:
                    values[slot] = do(values, number)
                tensors = pick(values)
                entered = clock()
                made = run(tensors)
                left = clock()
                values[span] = made
                glue_column[index] = entered - opened
                stage_column[index] = left - entered
            end = clock()
            asked(index)
            latency[index] = end - begin
            begun[index] = begin - epoch
            opened = clock()
            deliver(values)
            post[index] = clock() - opened
            if len(values) != slots:
                raise BackendError("a stage returned another number of outputs than the plan says")
            self._count(work, index, count)
        return collections

    def _count(self, work: Dict[str, Column], index: int, count: int) -> None:
        sizes = self._outputs.sizes(self._values)
        for name, number in self._outputs.work(self._values, sizes).items():
            if index == 0:
                work[name] = as_column(count)
            work[name][index] = number

    # The verification pass

    def once(self) -> Dict[str, Any]:
        """Run iteration 0 as any other, checked; its tensors stay until `release`.

        Returns:
            The answer of `run`, and first_ns, stage_ns, sizes and work of the verify answer.

        Raises:
            BackendError: a stage returned another number of tensors than the plan says.
        """
        unchecked = self._schedule
        self._schedule = tuple(stage._replace(run=_checked(stage)) for stage in unchecked)
        try:
            answer = self.run(1, 0, keep=True)
        finally:
            self._schedule = unchecked
        columns = answer["columns"]
        answer["first_ns"] = columns["latency_ns"][0]
        answer["stage_ns"] = {stage.name: columns[stage.name + "_ns"][0] for stage in unchecked}
        answer["sizes"] = self._outputs.sizes(self._values)
        return answer

    def handle(self, name: str) -> Any:
        """Return the handle of the latest tensor of that name, after `once`.

        Raises:
            BackendError: the pipeline makes no such tensor.
        """
        try:
            return self._values[self._layout.slot(name, "the answer")]
        except OptionError as error:
            raise BackendError(f"no output {name!r} in this pipeline") from error

    def release(self) -> None:
        """Drop the tensors of the last pass."""
        self._values[:] = self._empty

    def close(self) -> None:
        """Drop every tensor and let the collector look at everything again."""
        self._empty = [None] * len(self._empty)
        self.release()
        if hasattr(gc, "unfreeze"):
            gc.unfreeze()


def _picking(slots: Tuple[int, ...]) -> Pick:
    """Return what gathers slots; several at once in C, which a loop in Python is not."""
    if len(slots) > 1:
        return itemgetter(*slots)
    return lambda values: [values[slot] for slot in slots]


def _place(from_host: Callable[[Any], Any], host: int) -> Work:
    return lambda values, iteration: from_host(values[host])


def _checked(stage: Scheduled) -> Run:
    """Return what runs a stage and counts what it returns."""
    run, expected = stage.run, stage.span.stop - stage.span.start

    def checked(tensors: Sequence[Any]) -> Sequence[Any]:
        made = run(tensors)
        if len(made) != expected:
            raise BackendError(
                f"{stage.name} returned {len(made)} outputs, the plan says {expected}"
            )
        return made

    return checked


def _finished(run: Run, finish: Callable[[], None]) -> Run:
    def finished(tensors: Sequence[Any]) -> Sequence[Any]:
        made = run(tensors)
        finish()
        return made

    return finished


class _NoCollection:
    """No automatic garbage collection inside; what lives now is never looked at again."""

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.collect()
        if hasattr(gc, "freeze"):  # CPython
            gc.freeze()
        gc.disable()

    def __exit__(self, *error: object) -> None:
        if self._was_enabled:
            gc.enable()
