"""What the vendor's tools say of a card: cnmon's two layouts, and mm_run's device block.

Everything is looked up by section and key, never by line number; what is absent stays None, with
the reason beside it. Nothing here uses the SDK, so a look costs the card no context.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import Any, Dict, List, Optional, Sequence

TIMEOUT_S = 10.0

ARCHS = (("MLU370", "mtp_372"), ("MLU365", "mtp_372"), ("MLU590", "mtp_592"))
"""Start of the product's name -> architecture."""

FACTS = (
    "name", "driver", "firmware", "uuid", "bus", "clock_mhz", "temperature_c", "power_w",
    "power_cap_w", "memory_total_mib", "memory_used_mib", "utilisation_pct",
)  # fmt: skip
"""What is told of a card."""

MOVING = ("temperature_c", "power_w", "memory_used_mib", "utilisation_pct", "clock_mhz")
"""What changes while it works."""

INFO = {
    ("", "Product Name"): "name",
    ("", "UUID"): "uuid",
    ("", "Driver"): "driver",
    ("", "Firmware"): "firmware",
    ("Utilization", "MLU Average"): "utilisation_pct",
    ("Temperature", "Chip"): "temperature_c",
    ("Physical Memory Usage", "Total"): "memory_total_mib",
    ("Physical Memory Usage", "Used"): "memory_used_mib",
    ("Power", "Usage"): "power_w",
    ("Power", "Cap"): "power_cap_w",
}
"""Section and key of `cnmon info` -> fact."""

MM_RUN = {
    "Compute Capability": "compute_capability",
    "Cluster Number": "clusters",
    "MLU Core Clock Rate": "clock_mhz",
    "IPU Clock Rate": "clock_mhz",
    "Total Memory Size": "memory_total_mib",
    "Memory Bus Width": "memory_bus_bits",
    "Memory Clock Rate": "memory_clock_mhz",
}
"""Key of mm_run's device block -> fact."""


def arch_of(name: Optional[str]) -> Optional[str]:
    """Return the architecture of a product, None when it is not known."""
    for start, arch in ARCHS:
        if (name or "").startswith(start):
            return arch
    return None


def number(text: str) -> Optional[float]:
    """Return the first number of a text such as `44 W`, None of `N/A`."""
    found = re.search(r"-?\d+(\.\d+)?", text)
    return float(found.group()) if found else None


def _value(fact: str, text: str) -> Any:
    text = text.strip()
    if text in ("", "N/A"):
        return None
    return number(text) if fact.endswith(("_c", "_w", "_mib", "_pct", "_mhz")) else text


def parse_info(text: str) -> Dict[int, Dict[str, Any]]:
    """Return the facts of every card of `cnmon info`, both layouts, by card number."""
    cards: Dict[int, Dict[str, Any]] = {}
    facts: Optional[Dict[str, Any]] = None
    section = ""
    base = 0
    board: Optional[float] = None
    for row in text.splitlines():
        head = re.match(r"\s*Card\s+(\d+)", row)
        if head:
            facts = cards.setdefault(int(head.group(1)), {})
            section, base, board = "", -1, None
            continue
        if facts is None or not row.strip():
            continue
        indent = len(row) - len(row.lstrip())
        key, _, value = (part.strip() for part in row.partition(":"))
        if base < 0:
            base = indent
        if not value:
            section = key
            continue
        if indent <= base:
            section = ""
        if (section, key) == ("Temperature", "Board"):
            board = number(value)
        fact = INFO.get((section, key))
        if fact is not None:
            facts[fact] = _value(fact, value)
        if facts.get("temperature_c") is None and board is not None:
            facts["temperature_c"] = board
    return cards


CELL = re.compile(r"[|]\s*(\d+)\s*/\s*\S*\s*(MLU\S+)\s+(\S+)\s*[|]([^|]*)[|]([^|]*)[|]")


def parse_table(text: str) -> Dict[int, Dict[str, Any]]:
    """Return the facts of every card of `cnmon`'s table, both layouts, by card number."""
    cards: Dict[int, Dict[str, Any]] = {}
    title = re.search(r"CNMON\s+(v[\d.]+)", text)
    rows = text.splitlines()
    for row, below in zip(rows, rows[1:]):
        found = CELL.match(row)
        if found is None:
            continue
        facts: Dict[str, Any] = {"name": found.group(2), "firmware": found.group(3)}
        middle = found.group(4).split()
        bus = next((word for word in middle if word.count(":") > 1), None)
        driver = next((word for word in middle if word.startswith("v")), None)
        facts["bus"] = bus
        facts["driver"] = driver or (title.group(1) if title else None)
        facts["utilisation_pct"] = number(found.group(5).split("%")[0])
        facts.update(_second_row(below))
        cards[int(found.group(1))] = facts
    return cards


def _second_row(row: str) -> Dict[str, Any]:
    """Return temperature, power and memory of the second row of a card."""
    temperature = re.search(r"(\d+)\s*C\b", row)
    power = re.search(r"(\d+)\s*W\s*/\s*(\d+)\s*W", row)
    memory = re.search(r"(\d+)\s*MiB\s*/\s*(\d+)\s*MiB", row)
    return {
        "temperature_c": float(temperature.group(1)) if temperature else None,
        "power_w": float(power.group(1)) if power else None,
        "power_cap_w": float(power.group(2)) if power else None,
        "memory_used_mib": float(memory.group(1)) if memory else None,
        "memory_total_mib": float(memory.group(2)) if memory else None,
    }


def parse_mm_run(text: str) -> Dict[str, Any]:
    """Return the device block of mm_run's output, and its throughput, in both styles."""
    facts: Dict[str, Any] = {}
    for row in text.splitlines():
        key, colon, value = (part.strip() for part in row.partition(":"))
        fact = MM_RUN.get(key)
        if fact is not None and colon:
            facts[fact] = number(value)
        if key == "Throughput (qps)":
            facts["throughput_qps"] = number(value)
    return facts


class ToolError(Exception):
    """A tool of the vendor gave no answer; the text is the reason."""


def ask(arguments: List[str], timeout_s: float = TIMEOUT_S) -> str:
    """Run a tool and return what it prints.

    Raises:
        ToolError: it is absent, fails or hangs.
    """
    environment = dict(os.environ, LC_ALL="C")
    name = arguments[0]
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=timeout_s,
            env=environment,
        )
    except FileNotFoundError as error:
        raise ToolError(
            f"{name} is not on PATH; bind-mount it from the host into the container"
        ) from error
    except OSError as error:
        raise ToolError(f"{name} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{name} gave no answer within {timeout_s:g} s") from error
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        said = " ".join(text.split())[:200] or "nothing"
        raise ToolError(f"{name} ended with exit status {done.returncode} and said: {said}")
    return text


def look(number_: int, timeout_s: float = TIMEOUT_S) -> Dict[str, Any]:
    """Return every fact of a card; None where a fact is not told, with why under `reasons`.

    Both views of cnmon are asked: the key-value one knows the chip's temperature, the table the
    firmware.
    """
    facts: Dict[str, Any] = dict.fromkeys(FACTS)
    problems = []
    for arguments, parse in (
        (["cnmon", "info", "-c", str(number_)], parse_info),
        (["cnmon"], parse_table),
    ):
        try:
            found = parse(ask(arguments, timeout_s)).get(number_)
        except ToolError as error:
            problems.append(str(error))
            continue
        if found is None:
            problems.append(f"{' '.join(arguments)} shows no card {number_}")
            continue
        for fact, value in found.items():
            if facts.get(fact) is None:
                facts[fact] = value
    absent = problems[0] if problems else "cnmon does not tell it"
    return {
        "source": "cnmon",
        **facts,
        "reasons": {fact: absent for fact in FACTS if facts[fact] is None},
    }


def block(
    model: str, shapes: Sequence[Sequence[int]], number_: int, timeout_s: float = 60.0
) -> Dict[str, Any]:
    """Return what mm_run tells of a card while it runs a model for a moment, or the `reason`.

    Args:
        model: a model file.
        shapes: of its inputs; the first axis is the batch.
        number_: of the card.
        timeout_s: mm_run runs a loop without a trip count for as long as its gate stays open.
    """
    common = ["mm_run", "--magicmind_model", model, "--devices", str(number_), "--iterations", "1"]
    dims = [",".join(map(str, shape)) or "_" for shape in shapes]
    attempts = (
        [*common, "--input_dims", *dims, "--warmup", "0", "--duration", "0"],
        [*common, "--batch", str(shapes[0][0])],
    )
    reason = ""
    for arguments in attempts:
        try:
            facts = parse_mm_run(ask(arguments, timeout_s))
        except ToolError as error:
            reason = reason or str(error)
            if "no answer" in reason:
                break
            continue
        return facts
    return {"reason": reason}


def sample(number_: int, timeout_s: float = TIMEOUT_S) -> Dict[str, Any]:
    """Return what changes while a card works, from one call of cnmon, and what the call cost."""
    begin = time.perf_counter_ns()
    facts: Dict[str, Any] = dict.fromkeys(MOVING)
    reason = None
    try:
        found = parse_info(ask(["cnmon", "info", "-c", str(number_)], timeout_s)).get(number_)
        if found is None:
            reason = f"cnmon info shows no card {number_}"
        else:
            facts.update({fact: found.get(fact) for fact in MOVING})
    except ToolError as error:
        reason = str(error)
    end = time.perf_counter_ns()
    return {"at_ns": (begin + end) // 2, "cost_ns": end - begin, "reason": reason, **facts}
