"""What this machine is, has, and can tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.console import Console
from harness.commands.interrupt import Interrupt
from harness.errors import ExitStatus, WorkerError
from harness.machine import doctor as looking
from harness.machine import host
from harness.planning import plugins
from harness.studies import machine_limits
from harness.studies import selfcheck as checking
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.commands.options import Asked


def backends(asked: Asked) -> ExitStatus:
    """List the backends found here, with their options, and what is wrong with broken ones."""
    console = Console()
    for one in plugins.describe(asked.flags.get("--python")):
        console.say(f"{one['name']}  ({one['origin']})")
        if one.get("error"):
            console.say(f"  broken: {one['error']}")
        for option in one.get("options", []):
            default = "chosen by the backend" if option["default"] is None else option["default"]
            console.say(f"  {option['name']} ({option['type']}, {default}): {option['help']}")
    return ExitStatus.FINE


def doctor(asked: Asked) -> ExitStatus:
    """Look at the machine and name what would disturb a measurement; change nothing."""
    keys, console = asked.keys, Console()
    found = looking.examine(Path(keys["outputs"]))
    if "backend" in keys:
        found += _backend_findings(keys)
    width = max(len(one.what) for one in found)
    for one in found:
        console.say(f"{one.state:<8} {one.what:<{width}}  {one.seen}")
        if one.fix:
            console.say(f"{'':<8} {'':<{width}}  -> {one.fix}")
    warned = any(one.state == "warning" for one in found)
    failing = keys["fail_on"] == "warning"
    return ExitStatus.ERROR if warned and failing else ExitStatus.FINE


EXAMINE_TIMEOUT_S = 120.0


def _backend_findings(keys: Mapping[str, str]) -> list[looking.MachineFinding]:
    """Return what a backend says of its runtime and device, asked in its own interpreter."""
    name, device = keys["backend"], keys["devices"]
    try:
        with WorkerProcess(keys.get("backend.python")) as worker:
            answer = worker.ask("examine", EXAMINE_TIMEOUT_S, backend=name, device=device)
    except WorkerError as error:
        return [
            looking.MachineFinding(name, "warning", str(error), "read the message; then try again")
        ]
    return [looking.MachineFinding(**one) for one in answer["findings"]]


LEAST_PAIRS = 2


def selfcheck(asked: Asked) -> ExitStatus:
    """Measure what this machine can tell apart: A/A, power, smallest detectable effect."""
    keys = asked.keys
    form = _form(checking.FORMS[keys["form"]], asked)
    console, folder = Console(), host.new_folder()
    with Interrupt(console) as interrupt:
        facts = checking.run(form, folder, console, lambda: interrupt.asked)
    for line in checking.lines(facts):
        console.say(line)
    console.say(str(host.keep(facts, folder, raw=keys["raw"] == "true")))
    failing = keys["fail_on"] == "unfit"
    return ExitStatus.ERROR if failing and host.unfit(facts) else ExitStatus.FINE


def _form(form: checking.CheckSize, asked: Asked) -> checking.CheckSize:
    """Return a form of the check with the sizes that were named."""
    sizes = {}
    for name in ("comparisons", "tolerated", "powered", "pairs", "iterations", "noise_s"):
        if name in asked.keys:
            least = {"pairs": LEAST_PAIRS, "powered": 0, "tolerated": 0}.get(name, 1)
            sizes[name] = asked.whole("selfcheck", name, least)
    return replace(form, **sizes)


def roofline(asked: Asked) -> ExitStatus:
    """Measure what this machine can do at most: reading, and products in every precision."""
    keys = asked.keys
    form = machine_limits.FORMS[keys["form"]]
    sizes = {
        name: asked.whole("roofline", name, 1)
        for name in ("processes", "iterations")
        if name in asked.keys
    }
    form = replace(form, **sizes)
    console, folder = Console(), host.new_folder(host.ROOFLINE)
    with Interrupt(console) as interrupt:
        facts = machine_limits.run(form, folder, console, lambda: interrupt.asked)
    for line in machine_limits.lines(facts):
        console.say(line)
    console.say(str(host.keep(facts, folder, raw=keys["raw"] == "true")))
    return ExitStatus.FINE
