"""Sweeps to render: what people have, what went wrong, and what somebody malicious would name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import accuracy, requests
from harness.judging import comparison, complete
from harness.records import identity, result_file
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from harness.judging.comparison import Comparison


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
    trial["content_sha256"] = identity.content_hash(trial)
    result_file.write_trial(place, trial)
    return folder


def compared() -> Comparison:
    """Return a comparison with every verdict but `no difference`: slower, faster, and no figure."""
    base = [make_trial(_shifted(8, 1, bs), bs=bs) for bs in (1, 2, 4)]
    base += [make_trial(processes(3, 30, bs), bs=bs) for bs in (16, 32)]
    new = [make_trial(_shifted(8, f, bs), bs=bs) for bs, f in ((1, 1.08), (2, 0.9), (4, 1.001))]
    new.append(make_trial([], bs=16, state="failed", reason=HOSTILE))
    return comparison.compare(base, new)


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


def limits() -> dict[str, float | None]:
    """Return the limits of a distance record made for a test."""
    return {"frames": 4.0, "steps": 4.0, "mel_db": 1.0, "audio_db": 3.0}


def far(mel_db: float) -> dict[str, Any]:
    """Return the accuracy record of outputs so far from the reference's; 1 dB passes."""
    found = {"frames": 2.0, "steps": 2.0, "mel_db": mel_db, "audio_db": None}
    return accuracy.judged(found, limits(), None)


S = 1_000_000_000


def on_device(
    device: str, index: int, *, seconds: int = 40, power_w: float | None = 50.0, bs: int = 1
) -> dict[str, Any]:
    """Return a process of one-second iterations with a sample of its device every quarter second.

    Device 1 begins half a second later than device 0 and is hotter.
    """
    late = S // 2 if device == "1" else 0
    at = [place * S // 4 + 5 * S + late for place in range(4 * seconds + 8)]
    process = make_process([S] * (seconds + 1), index=index, warmup=1, bs=bs)
    process["columns"]["start_ns"] = [place * S for place in range(seconds + 1)]
    hot = [None if power_w is None else 60.0 + 10 * bool(late) + n % 3 for n in range(len(at))]
    columns = {
        "at_ns": at, "cost_ns": [4 * MS] * len(at), "power_w": [power_w] * len(at),
        "temperature_c": hot, "utilisation_pct": [None] * len(at),
        "clock_mhz": [None if power_w is None else 1300.0] * len(at),
    }  # fmt: skip
    reason = None if power_w is not None else "the tool says nothing"
    during = {"period_s": 0.25, "columns": columns, "reason": reason}
    return {
        **process,
        "device": device,
        "clock_epoch_ns": 5 * S + late,
        "telemetry": {"during": during},
    }


def watched(folder: Path) -> Path:
    """Write what a card's sweep holds: power, two devices at once, rooflines, accuracy."""
    one = [on_device("0", index) for index in (1, 2, 3)]
    two = [on_device(device, index) for index in (1, 2, 3) for device in "01"]
    dark = [on_device("0", index, power_w=None, bs=4) for index in (1, 2, 3)]
    share = {"share": 0.42, "limit": "bandwidth"}
    shares = {"encoder": {"share": 0.05, "limit": "arithmetic"}, "decoder": share}
    trials = [
        make_trial(one, accuracy=far(0.1)),
        make_trial(two, accuracy=far(0.1)),
        make_trial(dark, bs=4, accuracy=far(1.234)),
    ]
    trials[0]["roofline"] = shares  # as if the work of its models had been counted
    config = {**trials[1]["point"]["config"], "devices": ["0", "1"]}
    trials[1]["point"] = {
        "id": identity.point_id(config), "name": "onnxruntime-force_float32-bs1-il128-devices0+1",
        "config": config,
    }  # fmt: skip
    trials[1]["settings"]["devices"] = {d: {"name": f"card {d}"} for d in "01"}
    return write_sweep(folder, [rehashed(trial) for trial in trials])


def rehashed(trial: dict[str, Any]) -> dict[str, Any]:
    """Return a document that was changed after it was completed, with its hash."""
    return {**trial, "content_sha256": identity.content_hash(trial)}


def lengths(folder: Path) -> Path:
    """Write one precision at four input lengths."""
    trials = []
    for place, il in enumerate((32, 64, 128, 256)):
        trial = make_trial(_of_length(il, place))
        config = {**trial["point"]["config"], "il": il}
        point = {
            "id": identity.point_id(config), "name": f"onnxruntime-il{il}", "config": config
        }  # fmt: skip
        trials.append(rehashed({**trial, "point": point}))
    return write_sweep(folder, trials)


def _of_length(il: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        make_process(
            [int(v * MS) for v in (20 + 0.5 * il) * rng.lognormal(0, 0.02, 33)],
            index=index, warmup=3, frames=round(4.75 * il),
        )
        for index in (1, 2, 3)
    ]  # fmt: skip


LOADS = (0.2, 0.5, 0.8, 1.2)


def served(folder: Path) -> Path:
    """Write a server of 10 ms at four loads, the last of which it cannot take on."""
    trials = [make_trial(_served(load_, 400)) for load_ in LOADS]
    for place, trial in enumerate(trials):
        scenario = {"kind": "server", "rate": None, "load": LOADS[place]}
        config = {**trial["point"]["config"], "scenario": scenario}
        name = f"onnxruntime-server-load{LOADS[place]:g}"
        trial["point"] = {"id": identity.point_id(config), "name": name, "config": config}
        trial["method"] = {**trial["method"], "scenario": {**scenario, "seconds": 60.0}}
    return write_sweep(folder, [complete.complete(trial) for trial in trials])


def _served(share: float, count: int) -> list[dict[str, Any]]:
    found = []
    for index in (1, 2, 3):
        due = requests.poisson(100 * share, count, 0.0, f"{index}")
        service = [10 * MS + 1000 * (n % 7) for n in range(len(due))]
        free, starts = 0, []
        for at, lasts in zip(due, service, strict=True):
            starts.append(max(free, at))
            free = starts[-1] + lasts
        process = make_process(service, index=index)
        process["columns"] |= {"start_ns": starts, "scheduled_ns": due}
        arrivals = {"rate_per_s": 100 * share, "seed": f"{index}", "count": len(due)}
        found.append({**process, "arrivals": arrivals})
    return found


def wide(folder: Path) -> Path:
    """Write points of three processes so unlike that no interval of theirs is symmetric.

    The lower end of a mean lies below zero, as the t interval of so few has it.
    """
    levels = ((900, 1000, 2400), (60, 95, 300))
    trials = [
        make_trial(
            [
                make_process([level * MS + 7919 * n for n in range(43)], index=index, warmup=3,
                             bs=bs)
                for index, level in enumerate(found, 1)
            ],
            bs=bs,
        )
        for bs, found in zip((1, 4), levels, strict=True)
    ]  # fmt: skip
    return write_sweep(folder, trials)
