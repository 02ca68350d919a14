"""The facts about the machine behind a number (measurement method, section 12).

Unknown is `{"value": None, "reason": ...}`, never left out. What is expected to move while a point
is measured stands under `state`; everything else should be the same before and after.
"""

from __future__ import annotations

import gc
import hashlib
import os
import platform
import subprocess
import sys
import time
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from harness import __version__
from harness.machine import signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


PACKAGES = (
    "hydra-core",
    "magicmind",
    "matplotlib",
    "numpy",
    "omegaconf",
    "onnx",
    "onnxruntime",
    "openvino",
    "pandas",
    "scipy",
)
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MKL_NUM_THREADS",
    "MLU_VISIBLE_DEVICES",
    "NEUWARE_HOME",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
)
SCHEDULER_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURMD_NODENAME",
    "SLURM_STEP_GPUS",
)
"""The only environment variables recorded: others may hold secrets."""
COMPETING_WINDOW_S = 0.1
COMPETING_SHARE = 5.0
"""Percent of one CPU from which another process is named."""
_CPU = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def unknown(reason: str) -> dict[str, str | None]:
    """Return the record of a fact that could not be found out."""
    return {"value": None, "reason": reason}


def _read(path: Path) -> Any:
    """Return a file's text, or why there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        return unknown(f"{path}: {error.strerror}")


def collect() -> dict[str, Any]:
    """Return the record of this moment; takes about 0.15 s and changes nothing."""
    return {
        "machine": signature.here().record(),
        "cpu": _cpu(),
        "memory": _memory(),
        "os": _system(),
        "confinement": _confinement(),
        "accelerator": unknown("the device's facts are in settings.device"),
        "software": _software(),
        "state": _state(),
    }


def kernel() -> str:
    """Return the version of the kernel that runs now."""
    return platform.release()


@lru_cache(maxsize=1)
def _processor() -> dict[str, str]:
    text = _read(Path("/proc/cpuinfo"))
    if not isinstance(text, str):
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _cpu() -> dict[str, Any]:
    facts, policy = _processor(), _CPU / "cpu0/cpufreq"
    absent = unknown("not in /proc/cpuinfo")
    flags = facts.get("flags", facts.get("Features", "")).split()
    caches = {
        f"L{_read(one / 'level')} {_read(one / 'type')}": _read(one / "size")
        for one in sorted((_CPU / "cpu0/cache").glob("index*"))
    }
    return {
        "model": facts.get("model name", platform.processor() or absent),
        "family": facts.get("cpu family", absent),
        "stepping": facts.get("stepping", absent),
        "microcode": facts.get("microcode", absent),
        "cores": psutil.cpu_count(logical=False) or unknown("the system does not say"),
        "logical": psutil.cpu_count(),
        "smt": _read(_CPU / "smt/active"),
        "caches": caches or unknown("the kernel lists none"),
        "vector_flags": sorted(flag for flag in flags if flag.startswith(signature.VECTORS)),
        "governor": _read(policy / "scaling_governor"),
        "driver": _read(policy / "scaling_driver"),
        "least_khz": _read(policy / "scaling_min_freq"),
        "largest_khz": _read(policy / "scaling_max_freq"),
        "turbo_off": _read(_CPU / "intel_pstate/no_turbo"),
        "boost": _read(_CPU / "cpufreq/boost"),
        "idle_driver": _read(_CPU / "cpuidle/current_driver"),
        "isolated": _read(_CPU / "isolated"),
        "nohz_full": _read(_CPU / "nohz_full"),
        "mitigations": {
            one.name: _read(one) for one in sorted((_CPU / "vulnerabilities").glob("*"))
        },
    }


def _memory() -> dict[str, Any]:
    nodes = sorted(Path("/sys/devices/system/node").glob("node[0-9]*"))
    return {
        "total_bytes": psutil.virtual_memory().total,
        "swap_total_bytes": psutil.swap_memory().total,
        "numa_nodes": len(nodes) or unknown("the kernel lists none"),
        "transparent_huge_pages": _read(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
    }


def session() -> dict[str, Any]:
    """Return where a session runs: machine, process, and the scheduler's words for it."""
    scheduler = {name: os.environ[name] for name in SCHEDULER_VARIABLES if name in os.environ}
    return {"host": platform.node(), "pid": os.getpid(), "scheduler": scheduler}


def boot_id() -> Any:
    """Return what this boot of the machine is called, or why it is not known."""
    return _read(Path("/proc/sys/kernel/random/boot_id"))


def _system() -> dict[str, Any]:
    try:
        release: Any = platform.freedesktop_os_release().get("PRETTY_NAME", "unnamed")
    except OSError as error:
        release = unknown(str(error))
    clock = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return {
        "host": platform.node(),
        "kernel": platform.release(),
        "system": platform.system(),
        "machine": platform.machine(),
        "distribution": release,
        "libc": " ".join(platform.libc_ver()),
        "clocksource": _read(clock),
        "aslr": _read(Path("/proc/sys/kernel/randomize_va_space")),
        "boot_id": boot_id(),
    }


def _confinement() -> dict[str, Any]:
    if hasattr(os, "sched_getaffinity"):
        affinity: Any = sorted(os.sched_getaffinity(0))
    else:
        affinity = unknown("this system has no affinity call")
    return {
        "affinity": affinity,
        "nice": os.nice(0) if hasattr(os, "nice") else unknown("not a POSIX system"),
        "cgroup_version": 2 if (_CGROUP / "cgroup.controllers").exists() else 1,
        "cpu_max": _read(_CGROUP / "cpu.max"),
        "cpuset": _read(_CGROUP / "cpuset.cpus.effective"),
        "memory_max": _read(_CGROUP / "memory.max"),
        "hypervisor": "yes" if "hypervisor" in _processor().get("flags", "").split() else "no",
        "container": "yes" if Path("/.dockerenv").exists() else "not seen",
    }


def versions() -> dict[str, str]:
    """Return what a measurement rests on besides its configuration, models and runtime."""
    found, git = _versions(), _git()
    commit = str(git.get("commit") or "no commit")[:12]
    return {
        "harness": f"{__version__} ({commit})",
        "python": platform.python_version(),
        "numpy": str(found["numpy"]),
    }


@lru_cache(maxsize=1)
def _versions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = unknown("not installed on the control side")
    return found


def _software() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
        "executable": sys.executable,
        "gc_enabled": gc.isenabled(),
        "packages": _versions(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _state() -> dict[str, Any]:
    memory = psutil.virtual_memory()
    times = psutil.cpu_times()
    frequency = psutil.cpu_freq()
    return {
        "uptime_s": round(time.monotonic()),
        "load": list(os.getloadavg()),
        "pressure": {
            name: _pressure(Path("/proc/pressure") / name) for name in ("cpu", "memory", "io")
        },
        "cpu_seconds": sum(times),
        "steal_seconds": getattr(times, "steal", unknown("the system does not count it")),
        "frequency_mhz": frequency.current if frequency else unknown("the system does not say"),
        "available_bytes": memory.available,
        "swap_used_bytes": psutil.swap_memory().used,
        "context_switches": psutil.cpu_stats().ctx_switches,
        "throttled": _throttled(),
        "temperature_c": temperature(),
        "competing": _competing(),
    }


def _pressure(path: Path) -> Any:
    """Return the share of the last 10 s in which some task waited, in percent."""
    text = _read(path)
    if not isinstance(text, str):
        return text
    some = next((line for line in text.splitlines() if line.startswith("some")), "")
    share = dict(part.split("=") for part in some.split()[1:]).get("avg10")
    return float(share) if share else unknown(f"{path}: no line 'some'")


def _throttled() -> Any:
    text = _read(_CGROUP / "cpu.stat")
    if not isinstance(text, str):
        return text
    counts = dict(line.split() for line in text.splitlines())
    return int(counts["nr_throttled"]) if "nr_throttled" in counts else unknown("no CPU limit")


def temperature() -> Any:
    """Return the degrees Celsius of the hottest sensor, or why there is none."""
    if not hasattr(psutil, "sensors_temperatures"):
        return unknown("psutil knows no sensors on this system")
    values = [one.current for group in psutil.sensors_temperatures().values() for one in group]
    return max(values) if values else unknown("no sensor is visible")


def _competing() -> list[str]:
    """Return the other processes that use more than 5 % of a CPU right now."""
    mine = os.getpid()
    running = [one for one in psutil.process_iter() if one.pid != mine]
    for one in running:
        _share(one)
    time.sleep(COMPETING_WINDOW_S)
    found = ((_share(one), one) for one in running)
    return [
        f"{one.name()} ({share:.0f} %)"
        for share, one in found
        if share > COMPETING_SHARE and one.is_running()
    ]


def _share(process: psutil.Process) -> float:
    try:
        return process.cpu_percent()
    except psutil.Error:
        return 0.0


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys outside `state` that are not the same before and after a point."""
    first, last = ({k: v for k, v in one.items() if k != "state"} for one in (before, after))
    old, new = dict(_flat(first)), dict(_flat(last))
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def provenance(command: str) -> dict[str, Any]:
    """Return which command and which state of this project's code made a result."""
    return {"command": command, "harness_version": __version__, "git": _git()}


@lru_cache(maxsize=1)
def _git() -> dict[str, Any]:
    here = Path(__file__).resolve().parents[2]

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout

    try:
        if Path(ask("rev-parse", "--show-toplevel").strip()) != here:
            return unknown("the harness is installed, not run from its own checkout")
        status = ask("status", "--porcelain")
        difference = ask("diff", "HEAD")
        return {
            "commit": ask("rev-parse", "HEAD").strip(),
            "dirty": bool(status.strip()),
            "diff_sha256": hashlib.sha256(difference.encode()).hexdigest() if difference else None,
        }
    except (OSError, subprocess.SubprocessError) as error:
        return unknown(f"git: {str(error).splitlines()[0]}")
