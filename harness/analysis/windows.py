"""Several devices at once: the window in which all of them worked, and what was done in it.

Measurement method 3.4: the window runs from the latest first start to the earliest last end; an
iteration that straddles an edge counts by the fraction of its time inside. Figures of single
devices are never added or averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.series import NS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from harness.analysis.series import Series

    Arrays = Sequence[NDArray[np.float64]]


LEAST_OVERLAP = 0.9
"""Share of each device's own run that the window must cover."""
NO_EFFICIENCY = "needs the same point measured on one device: divide its items_per_s by this one's"


@dataclass(frozen=True)
class Round:
    """The processes that ran together, one per device; times on the machine's monotonic clock."""

    index: int
    places: Mapping[str, int]
    """Device -> place of its process among those of the series."""
    starts: Mapping[str, NDArray[np.float64]]
    """Device -> start of each steady iteration, ns."""
    ends: Mapping[str, NDArray[np.float64]]

    @property
    def window(self) -> tuple[float, float]:
        """Latest first start and earliest last end, ns."""
        return (
            max(float(one[0]) for one in self.starts.values()),
            min(float(one[-1]) for one in self.ends.values()),
        )

    @property
    def seconds(self) -> float:
        """Length of the window; 0 when the devices never worked together."""
        first, last = self.window
        return max(0.0, last - first) / NS

    @property
    def skew_s(self) -> float:
        """Seconds between the first and the last device's first start."""
        firsts = [float(one[0]) for one in self.starts.values()]
        return (max(firsts) - min(firsts)) / NS

    def overlap(self, device: str) -> float:
        """Return the share of a device's own run that lies in the window."""
        own_s = float(self.ends[device][-1] - self.starts[device][0]) / NS
        return self.seconds / own_s

    def inside(self, device: str) -> NDArray[np.float64]:
        """Return the fraction of each iteration's time that lies in the window."""
        first, last = self.window
        starts, ends = self.starts[device], self.ends[device]
        shared = np.minimum(ends, last) - np.maximum(starts, first)
        return np.clip(shared / np.maximum(ends - starts, 1.0), 0.0, 1.0)


def rounds(series: Series) -> list[Round]:
    """Return the rounds in which every device took part; empty with one device."""
    grouped: dict[int, dict[str, int]] = {}
    for place, process in enumerate(series.processes):
        if process.get("clock_epoch_ns") is not None:
            grouped.setdefault(process["index"], {})[process["device"]] = place
    wanted = set(series.devices)
    return [
        _round(series, index, places)
        for index, places in sorted(grouped.items())
        if len(wanted) > 1 and set(places) == wanted
    ]


def _round(series: Series, index: int, places: Mapping[str, int]) -> Round:
    starts, ends = {}, {}
    for device, place in places.items():
        process = series.processes[place]
        begun = series.nanoseconds(process, "start")[series.skipped(process) :]
        # Nanoseconds since boot need more digits than a float has once a machine is up for months.
        begun = begun + int(process["clock_epoch_ns"]) - _origin(series)
        lasted = series.nanoseconds(process, "latency")[series.skipped(process) :]
        starts[device] = begun.astype(float)
        ends[device] = (begun + lasted).astype(float)
    return Round(index, places, starts, ends)


def _origin(series: Series) -> int:
    return min(int(one["clock_epoch_ns"]) for one in series.processes if "clock_epoch_ns" in one)


def windowed(series: Series, amounts: Arrays) -> tuple[Arrays, Arrays]:
    """Return what was done in the window of each round, and the window's seconds.

    Args:
        series: the samples of all devices.
        amounts: items of each steady iteration, by process.
    """
    done, seconds = [], []
    for one in rounds(series):
        if one.seconds > 0:
            total = sum(
                float((amounts[place] * one.inside(device)).sum())
                for device, place in one.places.items()
            )
            done.append(np.array([total]))
            seconds.append(np.array([one.seconds]))
    return done, seconds


def assess(series: Series) -> dict[str, Any]:
    """Return the `devices` part of a result document; empty with one device."""
    if len(series.devices) < 2:  # noqa: PLR2004 - one device has no window to share
        return {}
    found = rounds(series)
    rates = dict(_rates(series))
    known = [rate for rate in rates.values() if rate]
    return {
        "rounds": [
            {
                "index": one.index,
                "window_s": one.seconds,
                "skew_s": one.skew_s,
                "overlap": {device: one.overlap(device) for device in sorted(one.places)},
            }
            for one in found
        ],
        "items_per_s": rates,
        "imbalance": max(known) / min(known) if known else None,
        "efficiency": {"value": None, "reason": NO_EFFICIENCY},
    }


def _rates(series: Series) -> Iterator[tuple[str, float | None]]:
    """Yield each device's own rate of the last stage's valid items."""
    amounts = series.work(f"{series.items_of('latency')}_valid")
    times = series.seconds("latency")
    for device in series.devices:
        places = [at for at, one in enumerate(series.processes) if one["device"] == device]
        spent = sum(float(times[at].sum()) for at in places)
        made = sum(float(amounts[at].sum()) for at in places) if amounts else 0.0
        yield device, made / spent if amounts and spent else None


def least_overlap(assessed: Mapping[str, Any]) -> float:
    """Return the smallest share of a device's run that its window covers; 0 without a window."""
    return min(
        (share for one in assessed["rounds"] for share in one["overlap"].values()), default=0.0
    )
