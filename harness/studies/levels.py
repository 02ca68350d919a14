"""The levels of the memory hierarchy whose rates are measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


WORD_BYTES = 8
READS_BYTES = 1 << 28
"""What each thread reads at least in one go: milliseconds, of which waking it is no part."""
BEYOND = 8
"""Memory is read over so many times the last cache."""
LEAST_MEMORY_BYTES = 1 << 28


@dataclass(frozen=True)
class Level:
    """Somewhere to read from, and how."""

    level: str
    capacity_bytes: int | None
    """What it holds, for all the threads together; None: everything."""
    threads: int
    size_bytes: int
    """What is read over and over."""

    @property
    def stage(self) -> str:
        """What the reading pipeline calls it: `l2_1`."""
        return f"{self.level.partition(',')[0].lower()}_{self.threads}"

    @property
    def passes(self) -> int:
        """How often one iteration goes through it."""
        return max(1, READS_BYTES * self.threads // self.size_bytes)

    @property
    def amount(self) -> float:
        """Bytes that all the passes of one iteration read."""
        each = self.size_bytes // self.threads // WORD_BYTES * WORD_BYTES
        return each * self.threads * self.passes


def levels(caches: Mapping[str, str], cpus: int) -> list[Level]:
    """Return every cache from the second level on, and memory, for one thread and for all.

    Caches below the last are each core's own, so several threads have as many of them.
    """
    found = []
    sizes = dict(sorted(_unified(caches)))
    for threads in dict.fromkeys((1, cpus)):
        for level, capacity in sizes.items():
            all_of_it = capacity if level == max(sizes) else capacity * threads
            name = _named(f"L{level}", threads)
            found.append(Level(name, all_of_it, threads, all_of_it // 2))
        beyond = max(LEAST_MEMORY_BYTES, BEYOND * max(sizes.values(), default=0))
        found.append(Level(_named("memory", threads), None, threads, beyond))
    return found


def _named(what: str, threads: int) -> str:
    return f"{what}, {threads} thread{'s' if threads > 1 else ''}"


def _unified(caches: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Yield level and bytes of the caches named as `L2 Unified: 1024K`."""
    for name, text in caches.items():
        level = re.fullmatch(r"L(\d+) Unified", name)
        amount = re.fullmatch(r"(\d+)([KM]?)", str(text))
        if level and amount:
            yield int(level[1]), int(amount[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20}[amount[2]]
