"""What this machine is, has, and can tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import doctor as looking
from harness import extensions, fitness
from harness import roofline as limits
from harness import selfcheck as checking
from harness.commands import options
from harness.console import Console
from harness.errors import ExitStatus, UsageError, WorkerError
from harness.interrupt import Interrupt
from harness.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def backends(arguments: Sequence[str]) -> ExitStatus:
    """List the backends found here, with their options, and what is wrong with broken ones."""
    parser = options.Parser(prog="harness backends", description=backends.__doc__)
    parser.add_argument("--python", default=None, help="interpreter of the measured side")
    chosen = parser.parse_args(arguments)

    console = Console()
    for one in extensions.describe(chosen.python):
        console.say(f"{one['name']}  ({one['origin']})")
        if one.get("error"):
            console.say(f"  broken: {one['error']}")
        for option in one.get("options", []):
            default = "chosen by the backend" if option["default"] is None else option["default"]
            console.say(f"  {option['name']} ({option['type']}, {default}): {option['help']}")
    return ExitStatus.FINE


def doctor(arguments: Sequence[str]) -> ExitStatus:
    """Look at the machine and name what would disturb a measurement; change nothing."""
    known = {
        "fail_on": ("nothing", "warning"), "outputs": (), "backend": (), "backend.python": (),
        "devices": (),
    }  # fmt: skip
    keys = options.keys("doctor", arguments, known)

    console = Console()
    found = looking.examine(Path(keys.get("outputs", "outputs")))
    if "backend" in keys:
        found += _backend_findings(keys)
    width = max(len(one.what) for one in found)
    for one in found:
        console.say(f"{one.state:<8} {one.what:<{width}}  {one.seen}")
        if one.fix:
            console.say(f"{'':<8} {'':<{width}}  -> {one.fix}")
    warned = any(one.state == "warning" for one in found)
    asked = keys["fail_on"] == "warning"
    return ExitStatus.ERROR if warned and asked else ExitStatus.FINE


EXAMINE_TIMEOUT_S = 120.0


def _backend_findings(keys: Mapping[str, str]) -> list[looking.Finding]:
    """Return what a backend says of its runtime and device, asked in its own interpreter."""
    name, device = keys["backend"], keys.get("devices", "0")
    try:
        with Worker(keys.get("backend.python")) as worker:
            answer = worker.ask("examine", EXAMINE_TIMEOUT_S, backend=name, device=device)
    except WorkerError as error:
        return [looking.Finding(name, "warning", str(error), "read the message; then try again")]
    return [looking.Finding(**one) for one in answer["findings"]]


SELFCHECK_KEYS = {
    "form": ("short", "long"),
    "raw": ("false", "true"),
    "fail_on": ("nothing", "unfit"),
    "comparisons": (),
    "powered": (),
    "pairs": (),
    "tolerated": (),
    "iterations": (),
    "noise_s": (),
}


LEAST_PAIRS = 2


def selfcheck(arguments: Sequence[str]) -> ExitStatus:
    """Measure what this machine can tell apart: A/A, power, smallest detectable effect."""
    keys = options.keys("selfcheck", arguments, SELFCHECK_KEYS)
    form = _form(checking.FORMS[keys["form"]], keys)
    console, folder = Console(), fitness.new_folder()
    with Interrupt(console) as interrupt:
        facts = checking.run(form, folder, console, lambda: interrupt.asked)
    for line in checking.lines(facts):
        console.say(line)
    console.say(str(fitness.keep(facts, folder, raw=keys["raw"] == "true")))
    asked = keys["fail_on"] == "unfit"
    return ExitStatus.ERROR if asked and fitness.unfit(facts) else ExitStatus.FINE


ROOFLINE_KEYS = {"form": ("short", "long"), "processes": (), "iterations": ()}


def roofline(arguments: Sequence[str]) -> ExitStatus:
    """Measure what this machine can do at most: bytes read and products computed a second."""
    keys = options.keys("roofline", arguments, ROOFLINE_KEYS)
    form = replace(
        limits.FORMS[keys["form"]],
        **{
            name: _whole("roofline", name, keys[name], least)
            for name, least in (("processes", LEAST_PAIRS), ("iterations", 1))
            if name in keys
        },
    )
    console = Console()
    with Interrupt(console) as interrupt:
        facts = limits.run(form, console, lambda: interrupt.asked)
    for line in limits.lines(facts):
        console.say(line)
    console.say(str(fitness.keep(facts, fitness.new_folder("roofline"), raw=False)))
    return ExitStatus.FINE


def _whole(command: str, name: str, text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise UsageError(f"{command}: {name}={text}: a whole number, at least {least}")
    return value


def _form(form: checking.Form, keys: Mapping[str, str]) -> checking.Form:
    """Return a form of the check with the sizes that were named."""
    sizes = {}
    for name in ("comparisons", "tolerated", "powered", "pairs", "iterations", "noise_s"):
        if name not in keys:
            continue
        least = {"pairs": LEAST_PAIRS, "powered": 0, "tolerated": 0}.get(name, 1)
        sizes[name] = _whole("selfcheck", name, keys[name], least)
    return replace(form, **sizes)
