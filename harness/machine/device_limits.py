"""What devices can do at most: bytes a second from memory, operations a second by type.

Published figures of devices this harness may meet, each with its source. They are ceilings: a
device may clock lower, and a time below what they allow is no time of the work it claims.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


MLU_OPS = "operations per core and cycle of Cambricon/mlu-ops, times cores, times 1.0 GHz"
BOARD_LOG = "384 bit at 6.4 Gb/s, as Cambricon's runtime logs it"


@dataclass(frozen=True)
class DeviceLimits:
    """The most one device can do.

    Attributes:
        bandwidth_bytes_s: bytes read from or written to its memory in a second.
        operations_s: additions and multiplications in a second, by type of number.
        sources: where the figures come from, by `bandwidth` and `operations`.
        kind: `published` or `measured`.
    """

    bandwidth_bytes_s: float
    operations_s: Mapping[str, float]
    sources: Mapping[str, str] = field(default_factory=dict)
    kind: str = "published"

    def as_dict(self) -> dict[str, Any]:
        """Return the form that stands in a result file."""
        return asdict(self)


PUBLISHED: Mapping[str, DeviceLimits] = {
    "MLU370-S4": DeviceLimits(
        307.2e9,
        {"int8": 196.6e12, "int16": 98.3e12, "float16": 73.7e12, "float32": 18.4e12},
        {"bandwidth": BOARD_LOG, "operations": MLU_OPS},
    ),
    "MLU370-X4": DeviceLimits(
        307.2e9,
        {"int8": 262e12, "int16": 131e12, "float16": 98.3e12, "float32": 24.6e12},
        {"bandwidth": "Cambricon/mlu-ops", "operations": MLU_OPS},
    ),
    # The card has two devices; these are the figures of one.
    "MLU370-X8": DeviceLimits(
        307.2e9,
        {"int8": 128e12, "int16": 64e12, "float16": 48e12, "float32": 16e12},
        {"bandwidth": "Cambricon/mlu-ops", "operations": "press release, half of the card's"},
    ),
    "MLU290-M5": DeviceLimits(
        1228e9,
        {"int8": 512e12, "int16": 256e12},
        {"bandwidth": "press release", "operations": "press release"},
    ),
    "MLU270": DeviceLimits(
        102.4e9,
        {"int8": 128e12},
        {"bandwidth": "Cambricon/mlu-ops", "operations": "press, before its launch"},
    ),
    "MLU220": DeviceLimits(25.6e9, {}, {"bandwidth": "Cambricon/mlu-ops"}),
}
"""By product name. A device that is not here has limits only where they were measured."""


def published(name: str | None) -> DeviceLimits | None:
    """Return the published limits of a device by its name as its driver writes it, or None."""
    plain = re.sub(r"[\s_]+", "-", (name or "").upper())
    found = [product for product in PUBLISHED if re.search(rf"\b{product}\b", plain)]
    return PUBLISHED[max(found, key=len)] if found else None


def measured(roofline: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of this host's CPU as `python -m harness roofline` found them.

    Bandwidth is that of the quickest level, memory last; arithmetic the quickest product in each
    precision, two operations for each multiply-accumulate. Each with its interval, None where the
    roofline gives none.
    """
    operations: dict[str, float] = {}
    intervals: dict[str, list[float] | None] = {}
    sources = {"bandwidth": "numpy's reading", "measured": str(roofline["started"])}
    for one in roofline["products"]:
        rate = 2 * one["macs_per_s"]
        for compute in str(one["compute"]).split("+"):
            if rate > operations.get(compute, 0.0):
                operations[compute] = rate
                ends = one.get("ci95")
                intervals[compute] = [2 * end for end in ends] if ends else None
                sources[compute] = f"{one['backend']} {one['quant']}"
    return {
        "levels": [
            {key: one.get(key) for key in ("level", "capacity_bytes", "bytes_per_s", "ci95")}
            for one in roofline["reading"]
        ],
        "operations_s": operations,
        "operations_ci95": intervals,
        "sources": sources,
        "kind": "measured",
    }


def quoted(
    device: Mapping[str, Any] | None, roofline: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a result says of its device's limits, or why it says nothing.

    Args:
        device: what the backend says of it.
        roofline: the measured limits of this host's CPU, or the reason there are none.
    """
    name, kind = (device or {}).get("name"), (device or {}).get("kind")
    known = published(name)
    if known is not None:
        return known.as_dict()
    if kind == "cpu" and roofline:
        return measured(roofline) if "reading" in roofline else {"reason": roofline["reason"]}
    return {"reason": f"no limits are published or measured here for {name or 'this device'}"}
