"""Where and when figures were taken, and what disturbed the machine meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.machine import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


KEPT = ("load", "pressure", "cpu_seconds", "steal_seconds", "available_bytes")
CPU = "cpu"


def facts() -> dict[str, Any]:
    """Return what the machine is: no names of hosts or users."""
    found = environment.collect()
    return {
        "cpu": found["cpu"]["model"],
        "cpus": found["cpu"]["logical"],
        "vector_flags": found["cpu"]["vector_flags"],
        "caches": found["cpu"]["caches"],
        "memory_bytes": found["memory"]["total_bytes"],
        "kernel": found["os"]["kernel"],
        "virtual": found["confinement"]["hypervisor"],
        "nice": found["confinement"]["nice"],
        "versions": environment.versions(),
    }


def state() -> dict[str, Any]:
    """Return what moves: load, pressure, stolen seconds; and when."""
    found = environment.collect()["state"]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"utc": now, **{name: found[name] for name in KEPT}}


def header(
    facts: Mapping[str, Any], states: Sequence[Mapping[str, Any]], runtimes: Sequence[str]
) -> str:
    """Return the paragraph above a table.

    Args:
        facts: of the machine.
        states: of it, in order; the first before, the last after everything.
        runtimes: names with versions.
    """
    versions, first, last = facts["versions"], states[0], states[-1]
    kind = "a virtual machine, " if facts["virtual"] == "yes" else ""
    loads = ", ".join(f"{one['load'][0]:.1f}" for one in states)
    return (
        f"{facts['cpu']}, {facts['cpus']} CPUs, {facts['memory_bytes'] / 1e9:.0f} GB ({kind}"
        f"Linux {facts['kernel']}, nice {facts['nice']}). {'; '.join(runtimes)}; "
        f"Python {versions['python']}, numpy {versions['numpy']}, harness {versions['harness']}. "
        f"{first['utc']} to {last['utc']}. Load before, between and after the pieces of work, "
        f"what is measured included: {loads}. {_stolen(first, last)}; {_pressed(states)}."
    )


def _stolen(first: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    if isinstance(first["steal_seconds"], dict):
        return "stolen time is not counted here"
    passed = last["cpu_seconds"] - first["cpu_seconds"]
    stolen = last["steal_seconds"] - first["steal_seconds"]
    return f"stolen by the host: {stolen / passed if passed else 0.0:.1%} of processor time"


def _pressed(states: Sequence[Mapping[str, Any]]) -> str:
    known = [one["pressure"][CPU] for one in states if isinstance(one["pressure"][CPU], float)]
    if not known:
        return "pressure is not counted here"
    return (
        f"time in which something waited for a CPU (pressure, 10 s means): up to {max(known):.0f} %"
    )
