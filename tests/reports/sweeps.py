"""Sweeps to render: what people have, what went wrong, and what somebody malicious would name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness import compare
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from harness.compare import Comparison

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\u202e\x1b[31m"


def processes(count: int, each: int, bs: int = 1, seed: int = 1) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        make_process(
            [int(value * MS) for value in rng.lognormal(np.log(70 + 5 * bs), 0.03, each + 3)],
            index=index + 1,
            warmup=3,
            bs=bs,
        )
        for index in range(count)
    ]


def seed_table(folder: Path) -> Path:
    """Write the original's six points."""
    trials = [
        make_trial(processes(3, 30, bs, seed), quant=quant, bs=bs)
        for seed, (quant, bs) in enumerate(
            (quant, bs) for quant in ("force_float16", "force_float32") for bs in (1, 4, 8)
        )
    ]
    return write_sweep(folder, trials)


def fixed(folder: Path) -> Path:
    """Write a sweep that is the same to the last byte every time: for golden files."""
    utc = "2026-11-24T08:00:00.000000Z"
    chosen = [("force_float16", 1), ("force_float16", 4), ("force_float32", 1)]
    trials = [
        make_trial(
            processes(5, 80, bs, place),
            quant=quant,
            bs=bs,
            trial_id=f"20261124T08000{place}000000Z-0000000{place}",
            started={"utc": utc, "monotonic_ns": 0},
        )
        for place, (quant, bs) in enumerate(chosen)
    ]
    trials.append(
        make_trial(
            [],
            bs=8,
            quant="qint8_mixed_float32",
            state="skipped",
            reason="the CPU reference has no int8 kernels",
            trial_id="20261124T080009000000Z-00000009",
        )
    )
    return write_sweep(folder, trials)


def mixed(folder: Path) -> Path:
    """Write one point of every state."""
    return write_sweep(
        folder,
        [
            make_trial(processes(3, 30)),
            make_trial(
                [], bs=2, state="skipped", reason="no int8 kernels", quant="qint8_mixed_float32"
            ),
            make_trial(processes(1, 5, 4), bs=4, state="interrupted", reason="by the user"),
            make_trial([], bs=8, state="failed", reason="the worker was ended by SIGSEGV"),
            make_trial([], bs=16, state="timeout", reason="no answer to run within 900 s"),
        ],
    )


def hostile(folder: Path) -> Path:
    """Write a point whose every text is an attack."""
    trial = make_trial(
        processes(2, 10),
        state="failed",
        reason=HOSTILE,
        weights={"kind": "synthetic", "seed": 1, "label": HOSTILE},
        provenance={
            "command": HOSTILE,
            "harness_version": "0",
            "git": {"commit": HOSTILE, "dirty": False},
        },
    )
    trial["point"]["name"] = HOSTILE.replace("/", "")
    place = folder / "points" / "hostile"
    place.mkdir(parents=True)
    from harness import results  # noqa: PLC0415 - only here

    trial["content_sha256"] = results.content_hash(trial)
    results.write_trial(place, trial)
    return folder


def compared() -> Comparison:
    """Return a comparison with every verdict but `no difference`: slower, faster, and no figure."""
    base = [make_trial(_shifted(8, 1, bs), bs=bs) for bs in (1, 2, 4)]
    base += [make_trial(processes(3, 30, bs), bs=bs) for bs in (16, 32)]
    new = [make_trial(_shifted(8, f, bs), bs=bs) for bs, f in ((1, 1.08), (2, 0.9), (4, 1.001))]
    new.append(make_trial([], bs=16, state="failed", reason=HOSTILE))
    return compare.compare(base, new)


def _shifted(count: int, factor: float, bs: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng([bs, round(1000 * factor)])
    base = 70 + 5 * bs
    return [
        make_process(
            [int(v * factor * MS) for v in base * rng.lognormal(rng.normal(0, 0.003), 0.03, 33)],
            index=index,
            warmup=3,
            bs=bs,
        )
        for index in range(1, count + 1)
    ]


def vocoder(count: int, each: int, bs: int = 1) -> list[dict[str, Any]]:
    """Return processes of points that run the vocoder."""
    return [
        make_process([80 * MS + 1000 * n for n in range(each + 3)], index=index, warmup=3, bs=bs,
                     waveglow=True)
        for index in range(1, count + 1)
    ]  # fmt: skip
