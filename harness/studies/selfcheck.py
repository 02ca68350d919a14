"""What this machine can tell apart: the harness measures itself (measurement method, section 9).

A fixed kernel goes through everything a point goes through: fresh workers, blocks, result files,
statistics. Compared with itself it must show no difference; with a known share of work added it
must show one.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import estimates, outliers, verdicts
from harness.analysis.series import WHOLE, Series
from harness.config.measure import Measure
from harness.config.schema import Config, Model
from harness.machine import environment, host, signature
from harness.measuring.sweep import quietly
from harness.planning.planner import PlannedPoint
from harness.planning.point import make_point
from harness.records.identity import Side
from harness.studies import noise_kernel
from harness.units import duration, seconds, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.measuring.listener import Listener


EFFECTS = (0.02, 0.05)
"""Shares of work added, to see whether they are found."""
POWER = 0.80
COMMAND = "python -m harness selfcheck"


@dataclass(frozen=True)
class CheckSize:
    """How much is run."""

    comparisons: int = 40
    """Of the kernel with itself."""
    tolerated: int = 5
    """False differences among them at which the machine still passes."""
    powered: int = 10
    """Comparisons in which work is added too."""
    pairs: int = 5
    iterations: int = 8
    noise_s: float = 30.0


FORMS = {
    "short": CheckSize(),
    "long": CheckSize(comparisons=100, tolerated=10, powered=40, noise_s=60.0),
}


class KernelPoint(PlannedPoint):
    """The calibration workload, planned: it has no text."""

    def prepare(self) -> tuple[dict[str, Any], int]:
        """Return the inputs, which took no time."""
        return dict(noise_kernel.INPUTS), 0


def point(measure: Measure, *, extra: float = 0.0, side: Side = Side.CANDIDATE) -> KernelPoint:
    """Return the kernel as a point, with a share of work added."""
    options = {"extra": extra} if extra else {}
    config = Config(
        backend={"name": "calibration", "python": None, **options},
        model=Model("none"),
        measure=measure,
    )
    pipeline = noise_kernel.build()
    made = make_point(
        config,
        pipeline=pipeline.name,
        options={"extra": extra},
        models={name: str(model["sha256"]) for name, model in noise_kernel.MODELS.items()},
    )
    return KernelPoint(
        point=replace(made, name=f"calibration+{extra:.0%}" if extra else "calibration"),
        config=config,
        pipeline=pipeline,
        plan=pipeline.plan(noise_kernel.MODELS),
        models=noise_kernel.MODELS,
        weights=noise_kernel.WEIGHTS,
        probe={"available": True},
        skip=None,
        side=side,
    )


# --- running ---------------------------------------------------------------------------------


@dataclass
class StepProgress:
    """Which step runs, and how long the rest will take by what the steps so far took."""

    console: Listener
    steps: int
    started: float
    done: int = 0

    def step(self, what: str) -> None:
        """Say that the next step begins."""
        spent = time.monotonic() - self.started
        left = spent / self.done * (self.steps - self.done) if self.done else None
        self.console.progress(self.done + 1, self.steps, "selfcheck", what, left)
        self.done += 1


def run(
    form: CheckSize, folder: Path, console: Listener, stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Run the check; return its facts. The result files of every comparison stay in `folder`.

    Args:
        form: how much to run.
        folder: where the result files go.
        console: gets the progress.
        stopped: whether the user wants to end it.

    Raises:
        WorkerError: the calibration workload does not run here.
        KeyboardInterrupt: `stopped` said so.
    """
    progress = StepProgress(console, form.comparisons + 1, time.monotonic())
    progress.step("noise profile")
    noise = _noise(form, folder / "noise")
    compared = []
    for number in range(1, form.comparisons + 1):
        if stopped():
            raise KeyboardInterrupt
        progress.step(f"comparison {number}/{form.comparisons}")
        effects = EFFECTS if number <= form.powered else ()
        compared.append(_compare(form, folder / f"{number:03d}", effects))
    return {
        "schema": {"name": "harness.selfcheck", "major": 1, "minor": 0},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": time.monotonic() - progress.started,
        "form": asdict(form),
        "host": host.host(),
        "machine": signature.here().record(),
        "kernel": environment.kernel(),
        "noise": noise,
        **assess(compared, form),
    }


def _profile(form: CheckSize, **changes: Any) -> Measure:
    settings: dict[str, Any] = {
        "min_processes": form.pairs,
        "max_processes": form.pairs,
        "warmup_iters": 2,
        "num_iters": form.iterations,
        "time_limit_s": None,
    }
    return Measure(**{**settings, **changes})


def _noise(form: CheckSize, folder: Path) -> dict[str, Any]:
    """Run the kernel for a while in one process; return what its series looks like."""
    once = _profile(form, min_processes=1, max_processes=1)
    (first,) = quietly([point(once)], folder / "length", COMMAND)
    each_s = first["summary"]["latency.mean"]["estimate"]
    whole = replace(once, num_iters=max(50, math.ceil(form.noise_s / each_s)))
    (document,) = quietly([point(whole)], folder / "series", COMMAND)
    (process,) = document["processes"]
    (samples,) = Series(document).seconds(WHOLE)
    before, after = (document["environment"][end]["state"] for end in ("before", "after"))
    return {
        "iterations": len(samples),
        "mean_s": float(samples.mean()),
        "within_sd": float(samples.std(ddof=1) / samples.mean()),
        "shape": process["steady"]["label"],
        "autocorrelation_time": estimates.autocorrelation_time(samples),
        "severe_share": outliers.sensitivity([samples]).share,
        "preempted_share": outliers.share([process], "preempted"),
        "steal_share": outliers.share([process], "steal"),
        "pressure": [before["pressure"]["cpu"], after["pressure"]["cpu"]],
        "clock": process["clock"],
    }


@dataclass(frozen=True)
class Compared:
    """The process means of one comparison, by block: seconds."""

    baseline: Sequence[float]
    again: Sequence[float]
    slower: Mapping[float, Sequence[float]]
    """By the share of work added."""


def _compare(form: CheckSize, folder: Path, effects: Sequence[float]) -> Compared:
    measure = _profile(form)
    points = [
        point(measure, side=Side.BASELINE),
        point(measure),
        *(point(measure, extra=effect) for effect in effects),
    ]
    found: dict[tuple[str, str], list[float]] = {}
    for document in quietly(points, folder, COMMAND):
        series = Series(document)
        means = [float(one.mean()) for one in series.seconds(WHOLE)]
        blocks = [process["block"] for process in series.processes]
        key = (document["campaign"]["side"], document["point"]["name"])
        found[key] = [mean for _, mean in sorted(zip(blocks, means, strict=True))]
    return Compared(
        found["baseline", "calibration"],
        found["candidate", "calibration"],
        {effect: found["candidate", f"calibration+{effect:.0%}"] for effect in effects},
    )


# --- judging ---------------------------------------------------------------------------------


def assess(compared: Sequence[Compared], form: CheckSize) -> dict[str, Any]:
    """Return what the comparisons say of this machine.

    `mde` is the smallest detectable effect at B blocks, (t_{B-1,0.975} + t_{B-1,0.80}) s_z /
    sqrt(B), with s_z the SD of the log ratio of a pair, pooled over the comparisons.
    """
    same = [verdicts.paired(one.baseline, one.again) for one in compared]
    logs = [np.log(np.asarray(one.again) / np.asarray(one.baseline)) for one in compared]
    pair_sd = math.sqrt(float(np.mean([one.var(ddof=1) for one in logs])))
    level = float(np.exp(np.mean(np.log([mean for one in compared for mean in one.baseline]))))
    between = float(np.std(np.log([m for one in compared for m in one.baseline]), ddof=1))
    wrong = sum(_differs(one) for one in same)
    return {
        "level_s": level,
        "between_sd": between,
        "pair_sd": pair_sd,
        "aa": {
            "comparisons": len(same),
            "different": wrong,
            "tolerated": form.tolerated,
            "passed": wrong <= form.tolerated,
        },
        "power": [
            {"effect": effect, "found": hits, "comparisons": total}
            for effect, hits, total in _powers(compared)
        ],
        "mde": {
            str(blocks): detectable(pair_sd, blocks) for blocks in (form.pairs, host.GATE_BLOCKS)
        },
    }


def _differs(one: verdicts.Difference) -> bool:
    """Return whether the raw 95 % interval excludes no difference."""
    return abs(one.log_ratio) > one.half_width


def _powers(compared: Sequence[Compared]) -> Iterator[tuple[float, int, int]]:
    for effect in EFFECTS:
        found = [
            verdicts.paired(one.baseline, one.slower[effect])
            for one in compared
            if effect in one.slower
        ]
        yield effect, sum(_differs(one) and one.log_ratio > 0 for one in found), len(found)


def detectable(pair_sd: float, blocks: int) -> float:
    """Return the smallest relative effect found with 80 % chance in so many pairs (section 9)."""
    from scipy.stats import t  # noqa: PLC0415 - slow to import

    quantiles = t.ppf(0.975, blocks - 1) + t.ppf(POWER, blocks - 1)
    return float(quantiles * pair_sd / math.sqrt(blocks))


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the facts as a reader wants them."""
    noise, aa = facts["noise"], facts["aa"]
    clock = noise["clock"]["difference_ns"]
    yield f"clock     steps of {clock['median']} ns (p99.9 {clock['p999']} ns)"
    yield (
        f"noise     {noise['iterations']} iterations of {seconds(noise['mean_s'])}: "
        f"{noise['shape']}, SD {noise['within_sd']:.2%}, autocorrelation time "
        f"{noise['autocorrelation_time']:.1f}; {noise['severe_share']:.1%} severe, "
        f"{_share(noise['preempted_share'])} waited for a CPU, {_share(noise['steal_share'])} "
        "lost time to the host"
    )
    yield (
        f"A/A       {aa['different']} of {aa['comparisons']} comparisons of the kernel with "
        f"itself differ (at most {aa['tolerated']}): {'passed' if aa['passed'] else 'FAILED'}"
    )
    for one in facts["power"]:
        yield (
            f"power     {one['effect']:+.0%} of work found in {one['found']} of "
            f"{one['comparisons']} comparisons of {facts['form']['pairs']} pairs"
        )
    mde = facts["mde"][str(host.GATE_BLOCKS)]
    yield (
        f"spread    {facts['between_sd']:.2%} between processes, {facts['pair_sd']:.2%} between "
        "the sides of a pair"
    )
    fit = "unfit for gating" if mde > host.UNFIT else "fit for gating"
    shown, _ = shares(mde, host.UNFIT)
    yield f"smallest detectable effect with {host.GATE_BLOCKS} blocks: {shown}: {fit}"
    yield f"took {duration(facts['seconds'])}; machine {facts['host']}, kernel {facts['kernel']}"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.1%}"


def unfit(facts: Mapping[str, Any]) -> bool:
    """Return whether verdicts of this machine should not gate anything."""
    return not facts["aa"]["passed"] or facts["mde"][str(host.GATE_BLOCKS)] > host.UNFIT
