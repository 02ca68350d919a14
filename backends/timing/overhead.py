"""What timing itself costs, measured on stages that do nothing."""

from __future__ import annotations

from typing import (
    Any,
    Dict,
    Sequence,
)

from backends.base import Backend, CompiledStage
from backends.pipeline import PipelinePlan, StagePlan
from backends.timing import counters
from backends.timing.executor import Executor


def overhead(stages: int, count: int) -> Dict[str, int]:
    """Time the same loop over empty stages: what the harness itself adds to an iteration.

    Returns:
        Median and p99 (nearest rank) of latency in ns.
    """
    names = [f"stage{index}" for index in range(stages)]
    plan = PipelinePlan(
        pipeline="empty",
        inputs=(),
        items=(),
        sizes={},
        stages=tuple(StagePlan(name, (), (), "", (), None, {}) for name in names),
    )
    backend = Backend({}, "0")
    loaded: Dict[str, CompiledStage] = {name: _EmptyStage() for name in names}
    ran = Executor(plan, loaded, backend, 0, 0).run(count, 0, watch=False)
    latency = sorted(ran["columns"]["latency_ns"])
    return {
        "median_ns": counters.nearest_rank(latency, 0.5),
        "p99_ns": counters.nearest_rank(latency, 0.99),
    }


class _EmptyStage(CompiledStage):
    def run(self, tensors: Sequence[Any]) -> Sequence[Any]:
        return ()
