"""The rate of requests that keeps a limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.console import Console
from harness.errors import ExitStatus, UsageError
from harness.planning import compose
from harness.planning.planner import Planner
from harness.records import sweep_folder
from harness.studies import request_rate

if TYPE_CHECKING:
    from harness.commands.options import Asked


LEAST_STEPS = 2


def slo(asked: Asked) -> ExitStatus:
    """Find the largest request rate at which a percentile of the response keeps a limit."""
    keys = asked.keys
    limit_s = _milliseconds(keys.get("slo_ms", ""))
    steps = asked.whole("slo", "steps", LEAST_STEPS)
    configs = compose.composition(list(asked.others)).configs
    if len(configs) != 1:
        raise UsageError(f"slo: one point at a time, found {len(configs)}")
    console = Console()
    goal = request_rate.Goal(limit_s, int(keys["percentile"]), steps)
    place = sweep_folder.create(Path(configs[0].outputs))
    search = request_rate.Search(
        configs[0],
        goal,
        Planner(console.notice),
        place,
        lambda what: console.notice(f"slo: {what}"),
    )
    last = None
    for last in search.run():
        console.say(last.line(goal))
    console.say(str(place))
    if last is None or not last.confirming or not last.held:
        console.say("no rate was found and confirmed at which the limit is kept")
        return ExitStatus.NOTHING_MEASURED
    return ExitStatus.FINE


def _milliseconds(text: str) -> float:
    try:
        value = float(text) / 1e3
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"slo: slo_ms={text or 'missing'}: a limit in milliseconds, above 0")
    return value
