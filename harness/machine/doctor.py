"""A read-only look at the machine: what would disturb a measurement, and the command that helps.

Nothing is changed. What cannot be read is said with the reason, never passed over.
"""

from __future__ import annotations

import itertools
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.machine import environment
from harness.units import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Record = Mapping[str, Any]


BUSY_LOAD = 0.25
"""Load average per CPU from which the machine is called busy."""
PRESSURE, STEAL = 2.0, 0.5
"""Percent; the limits of grade C (measurement method, section 13)."""
STEAL_WINDOW_S = 0.5
HOT_C = 85.0
LEAST_FREE_BYTES = 2 << 30
CLOCK_READS = 2000
COARSE_NS = 1000


@dataclass(frozen=True)
class MachineFinding:
    """One thing looked at."""

    what: str
    state: str
    """`ok`, `warning` or `unknown`."""
    seen: str
    fix: str = ""


def _unknown(value: Any) -> str | None:
    """Return why a fact is not known, None when it is."""
    if isinstance(value, dict) and set(value) == {"value", "reason"}:
        return str(value["reason"])
    return None


def _fact(
    what: str, value: Any, fine: Callable[[Any], bool], fix: str, shown: str | None = None
) -> MachineFinding:
    reason = _unknown(value)
    if reason is not None:
        return MachineFinding(what, "unknown", reason)
    seen = str(value) if shown is None else shown
    return (
        MachineFinding(what, "ok", seen)
        if fine(value)
        else MachineFinding(what, "warning", seen, fix)
    )


def look(record: Record, outputs: Path) -> Iterator[MachineFinding]:
    """Yield what was looked at.

    Args:
        record: `environment.collect()`.
        outputs: folder whose disk results would go to.
    """
    yield from _processor(record["cpu"])
    yield from _load(record["cpu"], record["state"])
    yield from _limits(record)
    yield _fact(
        "clock source", record["os"]["clocksource"], lambda one: one in {"tsc", "arch_sys_counter"},
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
    )  # fmt: skip
    yield _timer()
    yield _disk(outputs)


def _processor(cpu: Record) -> Iterator[MachineFinding]:
    yield _fact(
        "governor", cpu["governor"], lambda one: one == "performance",
        "cpupower frequency-set -g performance",
    )  # fmt: skip
    turbo, intel = cpu["boost"], True
    if _unknown(turbo) is not None:
        turbo, intel = cpu["turbo_off"], False
    yield _fact(
        "turbo", turbo, lambda one: one == ("0" if intel else "1"),
        "echo 0 > /sys/devices/system/cpu/cpufreq/boost" if intel
        else "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo",
        None if _unknown(turbo) else ("off" if turbo == ("0" if intel else "1") else "on"),
    )  # fmt: skip
    yield _fact(
        "SMT", cpu["smt"], lambda one: one == "0", "echo off > /sys/devices/system/cpu/smt/control",
        {"0": "off", "1": "on"}.get(str(cpu["smt"])),
    )  # fmt: skip


def _load(cpu: Record, state: Record) -> Iterator[MachineFinding]:
    logical = cpu["logical"] or 1
    yield _fact(
        "load", state["load"][0], lambda one: one / logical < BUSY_LOAD,
        "wait, or stop what is running: top", f"{state['load'][0]:.2f} on {logical} CPUs",
    )  # fmt: skip
    names = state["competing"]
    yield _fact(
        "competing processes", names, lambda one: not one, "stop them, or measure elsewhere",
        ", ".join(names) or "none above 5 % of a CPU",
    )  # fmt: skip
    for name, value in state["pressure"].items():
        yield _fact(
            f"{name} pressure", value, lambda one: one < PRESSURE, "stop what else is running",
            None if _unknown(value) else f"{value:.1f} % of the last 10 s",
        )  # fmt: skip
    temperature = state["temperature_c"]
    yield _fact(
        "temperature", temperature, lambda one: one < HOT_C, "let it cool; check the fans",
        None if _unknown(temperature) else f"{temperature:.0f} C",
    )  # fmt: skip
    yield _fact(
        "swap in use", state["swap_used_bytes"], lambda one: one == 0, "swapoff -a",
        size(state["swap_used_bytes"]),
    )  # fmt: skip


def _limits(record: Record) -> Iterator[MachineFinding]:
    yield _fact(
        "cgroup CPU limit", record["confinement"]["cpu_max"], lambda one: one.startswith("max"),
        "start the container without --cpus",
    )  # fmt: skip
    yield _fact(
        "throttled periods", record["state"]["throttled"], lambda one: one == 0,
        "raise the container's CPU limit",
    )  # fmt: skip
    yield steal()


def steal() -> MachineFinding:
    """Return which share of the CPU time the host takes right now."""
    import psutil  # noqa: PLC0415 - only to look

    before = psutil.cpu_times()
    if not hasattr(before, "steal"):
        return MachineFinding("steal", "unknown", "the system does not count it")
    time.sleep(STEAL_WINDOW_S)
    after = psutil.cpu_times()
    spent = sum(after) - sum(before)
    share = 100 * (after.steal - before.steal) / spent if spent else 0.0
    return _fact(
        "steal", share, lambda one: one < STEAL, "use a dedicated machine",
        f"{share:.1f} % over {STEAL_WINDOW_S:g} s",
    )  # fmt: skip


def _timer() -> MachineFinding:
    reads = [time.perf_counter_ns() for _ in range(CLOCK_READS)]
    steps = sorted(after - before for before, after in itertools.pairwise(reads))
    median = steps[len(steps) // 2]
    return _fact(
        "timer", median, lambda one: one < COARSE_NS, "use a machine with a TSC clock",
        f"{median} ns between two readings",
    )  # fmt: skip


def _disk(outputs: Path) -> MachineFinding:
    place = next((one for one in (outputs, *outputs.absolute().parents) if one.exists()), outputs)
    free = shutil.disk_usage(place).free
    return _fact(
        "disk", free, lambda one: one >= LEAST_FREE_BYTES, "free space, or name another outputs=",
        f"{size(free)} free at {place}",
    )  # fmt: skip


def examine(outputs: Path) -> list[MachineFinding]:
    """Return what a look at this machine found; takes about a second."""
    return list(look(environment.collect(), outputs))
