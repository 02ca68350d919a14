"""One worker per device, with a common start: a round of processes, measured as one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.measuring import process
from harness.measuring.gate import WAITED, Gate
from harness.measuring.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.measuring.listener import Progress
    from harness.planning.job import Job

GRAVEST = ("interrupted", "timeout", "failed", "skipped", "ok")


def run(job: Job, devices: Sequence[str], progress: Progress, **where: Any) -> Outcome:
    """Measure one process on every device, all at the same time.

    Args:
        job: the point.
        devices: one worker each.
        progress: the terminal; it hears of the first device.
        where: the other arguments of `measure.run_process`.

    Returns:
        The outcome of the first device, the records of the others beside it. The round is as bad
        as the worst of them.
    """
    if len(devices) == 1:
        return process.run_process(job, progress=progress, **where)
    gate = Gate(devices)
    quiet = replace(progress, tell=lambda _: None)
    with ThreadPoolExecutor(len(devices)) as pool:
        running = [
            pool.submit(
                process.run_process,
                replace(job, device=device, first=place == 0),
                progress=quiet if place else progress,
                gate=gate,
                **where,
            )
            for place, device in enumerate(devices)
        ]
        outcomes = [one.result() for one in running]
    return _joined(devices, outcomes)


def _joined(devices: Sequence[str], outcomes: Sequence[Outcome]) -> Outcome:
    first = outcomes[0]
    state = min((one.state for one in outcomes), key=GRAVEST.index)
    causes = [
        f"device {device}: {one.reason}"
        for device, one in zip(devices, outcomes, strict=True)
        if one.reason and one.reason != WAITED
    ]
    settings = dict(first.settings)
    if settings:
        settings["devices"] = {
            device: one.settings.get("device")
            for device, one in zip(devices, outcomes, strict=True)
        }
    reason = "; ".join(causes) if state != "ok" else None
    if state == "interrupted":
        reason = next(one.reason for one in outcomes if one.state == state)
    return Outcome(
        record=first.record,
        state=state,
        reason=reason,
        settings=settings,
        cut_short=any(one.cut_short for one in outcomes),
        beside=[one.record for one in outcomes[1:]],
    )
