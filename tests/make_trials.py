"""Result documents made from plain numbers: what the worker would have sent, without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.judging import complete, summary
from harness.records import identity, result_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


MS = 1_000_000
STAGES = {"encoder": "characters", "decoder": "mel_frames", "postnet": "mel_frames"}
LABEL = "synthetic weights (seed 1234)"
UNKNOWN = {"value": None, "reason": "not asked here"}
STATE = {
    "steal_seconds": 0.0,
    "cpu_seconds": 100.0,
    "pressure": {"cpu": 0.0},
    "throttled": UNKNOWN,
    "frequency_mhz": 3000.0,
}


def make_process(
    latencies_ns: Sequence[int], *, index: int = 1, warmup: int = 0, frames: int = 608, bs: int = 1,
    waveglow: bool = False, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return a process whose decoder takes what the other stages leave."""
    n = len(latencies_ns)
    fixed = {"encoder": MS, "postnet": 2 * MS, **({"waveglow": 5 * MS} if waveglow else {})}
    glue = dict.fromkeys([*STAGES, *(["waveglow"] if waveglow else [])], 1000)
    rest = sum(fixed.values()) + sum(glue.values()) + 500
    columns = {f"{name}_ns": [value] * n for name, value in fixed.items()}
    columns["decoder_ns"] = [total - rest for total in latencies_ns]
    work = {
        "utterances": [bs] * n,
        "characters_padded": [128 * bs] * n,
        "characters_valid": [128 * bs] * n,
        "mel_frames_padded": [frames * bs] * n,
        "mel_frames_valid": [frames * bs] * n,
        "decoder_steps": [frames] * n,
    }
    if waveglow:
        work["audio_samples_padded"] = work["audio_samples_valid"] = [256 * frames * bs] * n
    return {
        "index": index, "block": index, "order": 1, "device": "0", "pid": 4000 + index,
        "seed": 1234, "start_offset_ns": index * MS, "interpreter": "CPython 3.11.7",
        "start_ns": 50 * MS, "compile_ns": 3 * MS, "compile_cached": True, "load_ns": 40 * MS,
        "first_ns": 100 * MS, "warmup": warmup, "hash_seed": index,
        "clock": {"name": "perf_counter", "difference_ns": {"min": 40, "median": 70, "p999": 900}},
        "overhead": {"median_ns": 3000, "p99_ns": 5000},
        "columns": {
            "start_ns": [index * MS] * n, "latency_ns": list(latencies_ns), **columns,
            "glue_ns": [sum(glue.values())] * n, "residual_ns": [500] * n,
            "pre_ns": [470_000] * n, "post_ns": [30_000] * n,
        },
        "glue": {name: [value] * n for name, value in glue.items()},
        "work": work, "counters": {"gc_collections": 0}, "golden": {},
        **more,
    }  # fmt: skip


def make_trial(
    processes: Sequence[Mapping[str, Any]], *, quant: str = "force_float32", bs: int = 1,
    waveglow: bool = False, state: str = "ok", reason: str | None = None, seed: int = 1234,
    warmup_iters: int | None = None, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return a complete document; `changes` replace top-level fields before it is completed."""
    if warmup_iters is None:
        warmup_iters = max((one["warmup"] for one in processes), default=0)
    stages = {**STAGES, **({"waveglow": "audio_samples"} if waveglow else {})}
    facts = {
        "pipeline": "tacotron2", "backend": {"name": "onnxruntime", "options": {}}, "quant": quant,
        "bs": bs, "il": 128, "waveglow": waveglow, "devices": ["0"], "model": "full", "seed": seed,
        "scenario": "single_stream", "sync": "stage", "models": dict.fromkeys(stages, "0" * 64),
    }  # fmt: skip
    effective = {
        "requested": quant, "compute": "float32", "storage": "float32", "activations": "float32",
        "device": "cpu", "provider": "CPUExecutionProvider", "source": "profile of one pass",
        "operators": {}, "verified": True, "reason": None,
    }  # fmt: skip
    moment = {"utc": "2026-11-24T08:00:00.000000Z", "monotonic_ns": 0}
    ends = {"cpu": {"governor": "performance"}, "state": STATE}
    return complete.complete(
        {
            "trial_id": identity.new_trial_id(), "supersedes": None,
            "point": {"id": identity.point_id(facts), "name": f"onnxruntime-{quant}-bs{bs}-il128",
                      "config": facts},
            "status": {"state": state, "reason": reason},
            "weights": {"kind": "synthetic", "seed": 1234, "label": LABEL},
            "started": moment, "ended": moment,
            "settings": {"requested": {"quant": quant, "options": {}},
                         "effective": dict.fromkeys(stages, effective) if processes else {},
                         "runtime": {"name": "onnxruntime", "version": "1.32.0"},
                         "device": {"id": "0", "name": "a processor"}, "options": {}},
            "models": {name: {"file": f"{name}.onnx", "path": f"/models/{name}.onnx",
                              "sha256": "0" * 64, "bytes": 10, "form": "float32"}
                       for name in stages},
            "environment": {"before": ends, "after": ends, "changed": []},
            "method": {"profile": "standard", "warmup_iters": warmup_iters, "num_iters": 50,
                       "processes": len(processes), "time_limit_s": 600.0, "confidence": 0.95,
                       "order_seed": 0, "stop_reason": "precision", "cut_short": False},
            "items": {"characters": "characters", "mel_frames": "mel frames",
                      "audio_samples": "audio samples"},
            "stages": [{"name": name, "produces": items,
                        "step_limit": 1664 if name == "decoder" else None}
                       for name, items in stages.items()],
            "audio": {"sampling_rate_hz": 22050, "hop_samples": 256},
            "parts": {"tacotron2": list(STAGES)},
            "processes": list(processes),
            "provenance": {"command": "python -m harness", "harness_version": "0.1.0",
                           "git": {"commit": "0" * 40, "dirty": False, "diff_sha256": None}},
            **changes,
        }
    )  # fmt: skip


def write_sweep(folder: Path, trials: Sequence[Mapping[str, Any]]) -> Path:
    """Write documents as a finished sweep would lie on disk."""
    for trial in trials:
        place = folder / "points" / f"{trial['point']['name']}-{trial['point']['id']}"
        place.mkdir(parents=True, exist_ok=True)
        result_file.write_trial(place, trial)
    summary.write_summary(folder, summary.summary_parts(trials))
    return folder
