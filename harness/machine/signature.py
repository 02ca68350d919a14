"""What makes a machine this machine, whatever it is called (measurement method, 18.9).

Not the host's name, which containers change and two machines may share, nor flags that come and go
with the kernel: what the processor is and can do, how much of it there is, and whose guest it is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
GIB = 1 << 30
VECTORS = ("avx", "amx", "fma", "sse4", "asimd", "sve")
"""What the names of vector instructions begin with."""
X86 = (
    "sse sse2 pni ssse3 f16c popcnt abm bmi1 bmi2 movbe adx aes vaes pclmulqdq vpclmulqdq gfni "
    "sha_ni cx16 clflushopt clwb xop tbm 3dnow 3dnowext mmx mmxext movdiri movdir64b"
)
ARM = (
    "fp neon vfpv3 vfpv4 half fphp crc32 pmull sha1 sha2 sha3 sha512 sm3 sm4 atomics jscvt fcma "
    "lrcpc dcpop i8mm bf16 sme sme2 frint flagm"
)
INSTRUCTIONS = frozenset(f"{X86} {ARM}".split())
"""Instructions besides vectors; the other flags tell of the kernel, its version and its settings,
or of mitigations."""
NAMES = {
    # x86, then ARM, then the others
    "vendor": ("vendor_id", "CPU implementer", "mvendorid", "vendor"),
    "family": ("cpu family", "CPU architecture", "marchid", "platform"),
    "number": ("model", "CPU part", "mimpid"),
    "model": ("model name", "uarch", "Processor", "cpu", "Model"),
    "stepping": ("stepping", "CPU variant", "revision"),
}
"""Field of a signature -> keys of /proc/cpuinfo, the first that is there counts."""
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Signature:
    """The parts; None where the system does not say."""

    vendor: str | None = None
    family: str | None = None
    number: str | None = None
    """The maker's number of the model."""
    model: str | None = None
    """Its name, which different processors may share."""
    stepping: str | None = None
    vector_flags: tuple[str, ...] | None = None
    instructions: tuple[str, ...] | None = None
    caches: tuple[str, ...] | None = None
    """Of the first CPU, as `L2 Unified 1024K`."""
    logical: int | None = None
    memory_gib: int | None = None
    """Rounded up: what the kernel keeps for itself changes with its version."""
    hypervisor: str | None = None

    @property
    def key(self) -> str:
        """The same for one machine under any name, 12 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def record(self) -> dict[str, Any]:
        """Return the parts as a result file has them, null where unknown, and the key."""
        parts = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        return {**parts, "key": self.key}


@dataclass(frozen=True)
class Part:
    """A part in which two machines differ, or that is unknown of one of them."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        """Return the part with both values."""
        return f"{self.name} ({self.before or 'unknown'} -> {self.after or 'unknown'})"


PLACES = {
    "logical": "cpu.logical",
    "memory_gib": "memory.gib",
    "hypervisor": "confinement.hypervisor",
}
"""What a part is called where it does not begin with `cpu.`."""


def compared(before: Signature, after: Signature) -> list[Part]:
    """Return the parts that differ, and those known of one machine only."""
    found = []
    for field in fields(Signature):
        values = [getattr(one, field.name) for one in (before, after)]
        if values[0] == values[1]:
            continue
        if all(isinstance(one, tuple) for one in values):  # what only one of them has
            sets = [set(one) for one in values]
            texts: list[str | None] = [
                " ".join(sorted(mine - other)) or "none"
                for mine, other in ((sets[0], sets[1]), (sets[1], sets[0]))
            ]
        else:
            texts = [_text(one) for one in values]
        found.append(Part(PLACES.get(field.name, f"cpu.{field.name}"), *texts))
    return found


def differences(before: Signature, after: Signature) -> list[Part]:
    """Return the parts that are known of both machines and differ."""
    return [one for one in compared(before, after) if None not in (one.before, one.after)]


def unknown(before: Signature, after: Signature) -> list[str]:
    """Return the names of the parts that are unknown of one machine or both."""
    return [
        PLACES.get(field.name, f"cpu.{field.name}")
        for field in fields(Signature)
        if None in (getattr(before, field.name), getattr(after, field.name))
    ]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return " ".join(value) or "none" if isinstance(value, tuple) else str(value)


# From this machine


@lru_cache(maxsize=1)
def here() -> Signature:
    """Return the signature of this machine; takes about a millisecond, once."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return read(
        text,
        caches=_caches(),
        logical=psutil.cpu_count(),
        memory_bytes=psutil.virtual_memory().total,
    )


def read(
    cpuinfo: str, *, caches: tuple[str, ...] | None, logical: int | None, memory_bytes: int | None
) -> Signature:
    """Return the signature of the machine with this /proc/cpuinfo.

    Args:
        cpuinfo: the file's text; empty where there is none.
        caches: as `Signature.caches`.
        logical: CPUs the system has, whatever this process may use.
        memory_bytes: the memory the system has.
    """
    values: dict[str, set[str]] = {}
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip():
            values.setdefault(key.strip(), set()).add(value.strip())
    named = {name: _named(values, keys) for name, keys in NAMES.items()}
    flags = _flags(values)
    guest = None if "flags" not in values else "yes" if "hypervisor" in (flags or ()) else "no"
    return Signature(
        **named,
        vector_flags=flags and tuple(one for one in flags if one.startswith(VECTORS)),
        instructions=flags and tuple(one for one in flags if one in INSTRUCTIONS),
        caches=caches,
        logical=logical,
        memory_gib=_gib(memory_bytes),
        hypervisor=guest,
    )


def _named(values: Mapping[str, set[str]], keys: tuple[str, ...]) -> str | None:
    """Return a part's value; of processors of several kinds in one machine, all of them."""
    for key in keys:
        if key in values:
            return " + ".join(sorted(values[key]))
    return None


def _flags(values: Mapping[str, set[str]]) -> tuple[str, ...] | None:
    """Return the flags that every CPU has, sorted; None where the file lists none."""
    sets = [set(one.split()) for key in ("flags", "Features") for one in values.get(key, ())]
    return tuple(sorted(set.intersection(*sets))) if sets else None


def _gib(memory_bytes: int | None) -> int | None:
    return None if memory_bytes is None else math.ceil(memory_bytes / GIB)


def _caches() -> tuple[str, ...] | None:
    found = []
    for one in sorted(CACHES.glob("index*")):
        try:
            words = [(one / name).read_text().strip() for name in ("level", "type", "size")]
        except OSError:
            continue
        found.append("L{} {} {}".format(*words))
    return tuple(found) or None


# From what was stored

KINDS: Mapping[str, tuple[type, ...]] = {
    "vector_flags": (list,),
    "instructions": (list,),
    "caches": (list,),
    "logical": (int,),
    "memory_gib": (int,),
}
"""Types of the parts in JSON where they are not strings."""


def stored(record: Any) -> Signature:
    """Return the signature in a record of `Signature.record`; what is not there is unknown."""
    if not isinstance(record, Mapping):
        return Signature()
    found: dict[str, Any] = {}
    for field in fields(Signature):
        value, kinds = record.get(field.name), KINDS.get(field.name, (str,))
        if list in kinds and isinstance(value, list) and all(isinstance(one, str) for one in value):
            found[field.name] = tuple(value)
        elif list not in kinds and isinstance(value, kinds):
            found[field.name] = value
    return Signature(**found)


def of(environment: Facts) -> Signature:
    """Return the signature of the machine an environment record is of.

    Files from before signatures hold some of its parts: those are taken, the others are unknown.
    """
    if "machine" in environment:
        return stored(environment["machine"])
    cpu, memory = (environment.get(name) or {} for name in ("cpu", "memory"))
    caches, flags = _known(cpu.get("caches")), cpu.get("vector_flags")
    total = memory.get("total_bytes")
    return Signature(
        family=_known(cpu.get("family")),
        model=_known(cpu.get("model")),
        stepping=_known(cpu.get("stepping")),
        vector_flags=tuple(flags) if isinstance(flags, list) else None,
        caches=tuple(f"{name} {size}" for name, size in caches.items()) if caches else None,
        logical=_known(cpu.get("logical")),
        memory_gib=_gib(total) if isinstance(total, int) else None,
        hypervisor=_known((environment.get("confinement") or {}).get("hypervisor")),
    )


def _known(value: Any) -> Any:
    """Return a stored fact, None where a reason stands in its place."""
    return None if isinstance(value, Mapping) and "reason" in value else value
