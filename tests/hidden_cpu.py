"""Lesser processors on this machine: vector extensions hidden from a process that is started.

By hand: `LD_PRELOAD=... HIDDEN_CPUID=... pytest ...` with what `environment` returns.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
EBX, ECX, EDX, EAX_1, EDX_1 = 1, 2, 3, 4, 7
"""Places of registers in HIDDEN_CPUID: of leaf 7, sub-leaf 0, then of sub-leaf 1."""
AVX512 = {
    EBX: (16, 17, 21, 26, 27, 28, 30, 31),  # F, DQ, IFMA, PF, ER, CD, BW, VL
    ECX: (1, 6, 11, 12, 14),  # VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    EDX: (2, 3, 8, 23),  # 4VNNIW, 4FMAPS, VP2INTERSECT, FP16
    EAX_1: (5,),  # BF16
}
AVX512_VNNI = {ECX: (11,)}
NEWER = {EDX: (22, 23, 24, 25), EAX_1: (5, 21, 23), EDX_1: (5, 10)}
"""AMX, half precisions, AVX-NE-CONVERT, AVX-VNNI-INT16."""
AVX_VNNI = {EAX_1: (4,), EDX_1: (4,)}
KINDS = {
    "avx2": ({"avx2"}, (AVX512, NEWER, AVX_VNNI)),
    "avx2 with vnni": ({"avx2", "avx_vnni"}, (AVX512, NEWER)),
    "avx512": ({"avx2", "avx512bw"}, (AVX512_VNNI, NEWER, AVX_VNNI)),
    "avx512 with vnni": ({"avx2", "avx512_vnni"}, (NEWER, AVX_VNNI)),
}
"""Kinds of processor: what this one must have, and what is hidden of it."""


def missing(kind: str) -> str | None:
    """Return why a kind cannot be had on this machine, None: it can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "hiding vector extensions needs Linux on x86-64"
    if shutil.which("gcc") is None:
        return "hiding vector extensions needs gcc"
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    line = next((line for line in facts.splitlines() if line.startswith("flags")), "")
    lacking = ({"cpuid_fault"} | KINDS[kind][0]) - set(line.split())
    return f"this CPU lacks {', '.join(sorted(lacking))}" if lacking else None


def environment(kind: str, folder: Path) -> dict[str, str]:
    """Return the environment in which a process sees a kind; builds the library in a folder."""
    library = folder / "hidden_cpu.so"
    if not library.exists():
        command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
    words = [0] * 8
    for bits in KINDS[kind][1]:
        for place, numbers in bits.items():
            for number in numbers:
                words[place] |= 1 << number
    named = ":".join(f"{word:x}" for word in words)
    return {**os.environ, "LD_PRELOAD": str(library), "HIDDEN_CPUID": named}
