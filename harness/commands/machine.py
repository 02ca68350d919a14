"""What this machine is, has, and can tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import doctor as looking
from harness import extensions, fitness
from harness import roofline as bounding
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


def _form(form: checking.Form, keys: Mapping[str, str]) -> checking.Form:
    """Return a form of the check with the sizes that were named."""
    sizes = {}
    for name in ("comparisons", "tolerated", "powered", "pairs", "iterations", "noise_s"):
        least = {"pairs": LEAST_PAIRS, "powered": 0, "tolerated": 0}.get(name, 1)
        value = _whole("selfcheck", keys, name, least)
        if value is not None:
            sizes[name] = value
    return replace(form, **sizes)


def _whole(command: str, keys: Mapping[str, str], name: str, least: int) -> int | None:
    """Return the whole number a key was given, None where it was not.

    Raises:
        UsageError: it is none, or too small.
    """
    if name not in keys:
        return None
    try:
        value = int(keys[name])
    except ValueError:
        value = least - 1
    if value < least:
        raise UsageError(f"{command}: {name}={keys[name]}: a whole number, at least {least}")
    return value


ROOFLINE_KEYS = {
    "form": ("short", "long"),
    "raw": ("false", "true"),
    "processes": (),
    "iterations": (),
}


def roofline(arguments: Sequence[str]) -> ExitStatus:
    """Measure what this machine can do at most: reading, and products in every precision."""
    keys = options.keys("roofline", arguments, ROOFLINE_KEYS)
    form = bounding.FORMS[keys["form"]]
    sizes = {name: _whole("roofline", keys, name, 1) for name in ("processes", "iterations")}
    form = replace(form, **{name: value for name, value in sizes.items() if value is not None})
    console, folder = Console(), fitness.new_folder(fitness.ROOFLINE)
    with Interrupt(console) as interrupt:
        facts = bounding.run(form, folder, console, lambda: interrupt.asked)
    for line in bounding.lines(facts):
        console.say(line)
    console.say(str(fitness.keep(facts, folder, raw=keys["raw"] == "true")))
    return ExitStatus.FINE
