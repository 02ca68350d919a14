"""The subcommands: everything `python -m harness WORD ...` does beside measuring."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.selfcheck import Form


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument as every other wrong input is reported: in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{self.prog}: {message}")


def _report(arguments: Sequence[str]) -> ExitStatus:
    """Render the report of a sweep again from its result files."""
    parser = _Parser(prog="harness report", description=_report.__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    chosen = parser.parse_args(arguments)
    from harness.console import Console  # noqa: PLC0415 - only when asked for

    if not chosen.folder.is_dir():
        raise UsageError(f"report {chosen.folder}: there is no such folder; name a sweep's folder")
    import reports  # noqa: PLC0415 - heavy

    page = reports.render(chosen.folder)
    Console().say(str(page))
    if chosen.open:
        import webbrowser  # noqa: PLC0415

        webbrowser.open(page.resolve().as_uri())
    return ExitStatus.FINE


COMPARE_KEYS = {
    "rule": ("verdict", "compat"),
    "format": ("text", "markdown", "json", "junit"),
    "fail_on": ("slower", "unresolved"),
    "across": ("nothing", "hardware"),
    "delta": (),
    "occasion_sd": (),
}
"""The keys of `compare`; the first choice is the default."""


def _compare(arguments: Sequence[str]) -> ExitStatus:
    """Compare two sweeps, or with rule=compat two of the original's logs."""
    from harness import baselines, compare, fitness  # noqa: PLC0415 - only when asked for

    words = [word for word in arguments if "=" not in word]
    keys = _keys("compare", [word for word in arguments if "=" in word], COMPARE_KEYS)
    delta = _share(keys.get("delta", "0.02"))
    if "occasion_sd" in keys:
        occasions = compare.Occasions(_share(keys["occasion_sd"], "occasion_sd"))
    else:
        measured = fitness.occasion_sd()
        occasions = (
            compare.Occasions() if measured is None else compare.Occasions(measured, measured=True)
        )
    paths = [baselines.resolve(word, "compare ") for word in words]
    if len(paths) not in {1, 2}:
        raise UsageError(
            f"compare needs a baseline and a candidate, found {len(paths)} paths: "
            "`python -m harness compare BASE NEW`"
        )
    if len(paths) == 1:
        found = baselines.judge(paths[0], delta=delta)
    elif keys["rule"] == "compat":
        return _compat(*paths)
    else:
        found = compare.compare(
            _trials(paths[0]),
            _trials(paths[1]),
            delta=delta,
            across_hardware=keys["across"] == "hardware",
            occasions=occasions,
        )
    import reports.comparisons as shown  # noqa: PLC0415 - heavy

    sys.stdout.write(shown.FORMATS[keys["format"]](found))
    return found.status(fail_on_unresolved=keys["fail_on"] == "unresolved")


def _keys(command: str, words: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return key=value words as a checked mapping, defaults filled in."""
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise UsageError(f"{command}: '{wrong[0]}' is not key=value; keys: {', '.join(known)}")
    given = dict(word.split("=", 1) for word in words)
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{command}: unknown key '{key}'; possible: {', '.join(known)}")
        if known[key] and value not in known[key]:
            raise UsageError(f"{command}: {key}={value}: possible: {', '.join(known[key])}")
    return {key: choices[0] for key, choices in known.items() if choices} | given


def _share(text: str, key: str = "delta") -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UsageError(f"compare: {key}={text}: a share above 0 and below 1, such as 0.02")
    return value


def _trials(folder: Path) -> list[Mapping[str, Any]]:
    from harness import results  # noqa: PLC0415

    if not folder.is_dir():
        raise UsageError(f"{folder}: not a sweep's folder; logs are compared with rule=compat")
    found = results.load_sweep(folder)
    if found.problems:
        raise UsageError(found.problems[0])
    if not found.trials:
        raise UsageError(f"{folder}: holds no result file; name a sweep's folder")
    return list(found.trials)


def _compat(base: Path, new: Path) -> ExitStatus:
    from harness import compare  # noqa: PLC0415
    from reports.comparisons import compat_text  # noqa: PLC0415

    if base.is_dir() != new.is_dir():
        raise UsageError(f"compare {base} {new}: a sweep and a log; name two of one kind")
    sides = [_rates(path) for path in (base, new)]
    rows = [
        row
        for name in dict.fromkeys([*sides[0], *sides[1]])
        for row in compare.compat_rows(name, sides[0].get(name, {}), sides[1].get(name, {}))
    ]
    sys.stdout.write(compat_text(rows))
    failed = any(row.verdict == "fail" for row in rows)
    return ExitStatus.REGRESSION if failed else ExitStatus.FINE


def _rates(path: Path) -> dict[str, dict[str, float | None]]:
    """Return the original's items per second by log name and device."""
    from harness import compat  # noqa: PLC0415

    if path.is_dir():
        return {
            compat.log_name(trial): {
                device: block["fields"].get(compat.ITEMS_PER_SECOND)
                for device, block in trial["compat"].items()
            }
            for trial in _trials(path)
        }
    blocks = compat.read_log(path)
    # Two logs are compared whatever they are called.
    return {"log": {one.device: one.fields.get(compat.ITEMS_PER_SECOND) for one in blocks}}


def _verify(arguments: Sequence[str]) -> ExitStatus:
    """Compute every stored summary again from the raw samples; check schema and hashes."""
    parser = _Parser(prog="harness verify", description=_verify.__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep")
    folder: Path = parser.parse_args(arguments).folder
    if not folder.is_dir():
        raise UsageError(f"verify {folder}: there is no such folder; name a sweep's folder")
    from harness import verify  # noqa: PLC0415 - only when asked for
    from harness.console import Console  # noqa: PLC0415

    console, checked = Console(), 0
    problems: list[str] = []
    for path in verify.files(folder):
        checked += 1
        problems += verify.problems(path)
    for line in problems:
        console.say(line)
    if not checked:
        raise UsageError(f"verify {folder}: holds no result file; name a sweep's folder")
    console.say(f"{checked} result files checked, {len(problems)} problems")
    return ExitStatus.ERROR if problems else ExitStatus.FINE


def _backends(arguments: Sequence[str]) -> ExitStatus:
    """List the backends found here, with their options, and what is wrong with broken ones."""
    parser = _Parser(prog="harness backends", description=_backends.__doc__)
    parser.add_argument("--python", default=None, help="interpreter of the measured side")
    chosen = parser.parse_args(arguments)
    from harness import extensions  # noqa: PLC0415
    from harness.console import Console  # noqa: PLC0415

    console = Console()
    for one in extensions.describe(chosen.python):
        console.say(f"{one['name']}  ({one['origin']})")
        if one.get("error"):
            console.say(f"  broken: {one['error']}")
        for option in one.get("options", []):
            default = "chosen by the backend" if option["default"] is None else option["default"]
            console.say(f"  {option['name']} ({option['type']}, {default}): {option['help']}")
    return ExitStatus.FINE


def _baseline(arguments: Sequence[str]) -> ExitStatus:
    """Save a sweep's results under a name, or list the names."""
    from harness import baselines  # noqa: PLC0415 - only when asked for
    from harness.console import Console  # noqa: PLC0415

    console = Console()
    words = [word for word in arguments if "=" not in word]
    keys = _keys("baseline", [word for word in arguments if "=" in word], BASELINE_KEYS)
    if words == ["list"]:
        for line in baselines.describe():
            console.say(line)
        if not baselines.names():
            console.say(f"no baseline is saved in {baselines.home()}")
        return ExitStatus.FINE
    if len(words) != 3 or words[0] != "save":  # noqa: PLR2004 - save, a name, a folder
        raise UsageError("baseline: `baseline save NAME DIR [overwrite=true]` or `baseline list`")
    place = baselines.save(words[1], Path(words[2]), overwrite=keys["overwrite"] == "true")
    console.say(f"{words[1]} saved in {place}")
    return ExitStatus.FINE


BASELINE_KEYS = {"overwrite": ("false", "true")}


def _doctor(arguments: Sequence[str]) -> ExitStatus:
    """Look at the machine and name what would disturb a measurement; change nothing."""
    keys = _keys("doctor", arguments, {"fail_on": ("nothing", "warning"), "outputs": ()})
    from harness import doctor  # noqa: PLC0415 - only when asked for
    from harness.console import Console  # noqa: PLC0415

    console = Console()
    found = doctor.examine(Path(keys.get("outputs", "outputs")))
    width = max(len(one.what) for one in found)
    for one in found:
        console.say(f"{one.state:<8} {one.what:<{width}}  {one.seen}")
        if one.fix:
            console.say(f"{'':<8} {'':<{width}}  -> {one.fix}")
    warned = any(one.state == "warning" for one in found)
    asked = keys["fail_on"] == "warning"
    return ExitStatus.ERROR if warned and asked else ExitStatus.FINE


MODELS_DIR = "models"
"""Where fetch puts checkpoints and export model files unless told otherwise."""


def _fetch(arguments: Sequence[str]) -> ExitStatus:
    """Download the two checkpoints named in conf/fetch.yaml."""
    from harness import compose, config  # noqa: PLC0415 - only when asked for
    from harness.console import Console  # noqa: PLC0415
    from harness.fetch import Fetcher  # noqa: PLC0415

    own = {"models_dir": (), "file": ("both", "tacotron2", "waveglow")}
    words = [word for word in arguments if word.split("=", 1)[0] in own]
    keys = _keys("fetch", words, own)
    others = [word for word in arguments if word not in words]
    settings = config.fetch(compose.conf_folder() / "fetch.yaml", others)
    files = {"tacotron2": settings.tacotron2, "waveglow": settings.waveglow}
    wanted = files.values() if keys["file"] == "both" else [files[keys["file"]]]
    folder, console = Path(keys.get("models_dir", MODELS_DIR)), Console()
    fetcher = Fetcher(folder, settings, console.notice, console.received)
    for file in wanted:
        console.say(str(fetcher.fetch(file)))
    return ExitStatus.FINE


EXPORT_KEYS = {
    "models_dir": (),
    "model": ("full", "tiny"),
    "dropout": ("shared", "per_row"),
    "max_steps": (),
    "overwrite": ("false", "true"),
}
"""The keys of `export` beside checkpoint=; the first choice is the default."""


def _export(arguments: Sequence[str]) -> ExitStatus:
    """Write the model files of NVIDIA's checkpoints."""
    named = [word for word in arguments if word.startswith("checkpoint=")]
    keys = _keys("export", [word for word in arguments if word not in named], EXPORT_KEYS)
    paths = [Path(part) for word in named for part in word.partition("=")[2].split(",") if part]
    folder = Path(keys.get("models_dir", MODELS_DIR))
    from harness import export  # noqa: PLC0415 - only when asked for
    from harness.console import Console  # noqa: PLC0415
    from harness.models import sizes  # noqa: PLC0415
    from harness.models.graphs.tacotron2 import DecodeLength, Dropout  # noqa: PLC0415
    from harness.models.tacotron2 import MAX_FRAMES  # noqa: PLC0415

    limit = keys.get("max_steps", str(MAX_FRAMES))
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_FRAMES:
        raise UsageError(f"export: max_steps={limit}: decoder steps, 1 to {MAX_FRAMES}")
    console = Console()
    written = export.export(
        paths or _fetched(folder),
        folder,
        sizes=sizes.named(keys["model"]),
        length=DecodeLength(limit=int(limit), from_text=False),
        dropout=Dropout(keys["dropout"]),
        overwrite=keys["overwrite"] == "true",
        notify=console.notice,
    )
    for path in written:
        console.say(str(path))
    return ExitStatus.FINE


def _fetched(folder: Path) -> list[Path]:
    from harness import compose, config  # noqa: PLC0415 - only when asked for

    files = config.fetch(compose.conf_folder() / "fetch.yaml", ())
    paths = [folder / name for name in (files.tacotron2.name, files.waveglow.name)]
    found = [path for path in paths if path.exists()]
    if not found:
        raise UsageError(
            f"export: neither {' nor '.join(map(str, paths))} is there; name a file with "
            f"checkpoint=PATH, or download both: python -m harness fetch models_dir={folder}"
        )
    return found


def _selfcheck(arguments: Sequence[str]) -> ExitStatus:
    """Measure what this machine can tell apart: A/A, power, smallest detectable effect."""
    from harness import fitness, selfcheck  # noqa: PLC0415 - only when asked for
    from harness.console import Console  # noqa: PLC0415
    from harness.interrupt import Interrupt  # noqa: PLC0415

    keys = _keys("selfcheck", arguments, SELFCHECK_KEYS)
    form = _form(selfcheck.FORMS[keys["form"]], keys)
    console, folder = Console(), fitness.new_folder()
    with Interrupt(console) as interrupt:
        facts = selfcheck.run(form, folder, console, lambda: interrupt.asked)
    for line in selfcheck.lines(facts):
        console.say(line)
    console.say(str(fitness.keep(facts, folder, raw=keys["raw"] == "true")))
    asked = keys["fail_on"] == "unfit"
    return ExitStatus.ERROR if asked and fitness.unfit(facts) else ExitStatus.FINE


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


def _form(form: Form, keys: Mapping[str, str]) -> Form:
    """Return a form of the check with the sizes that were named."""
    sizes = {}
    for name in ("comparisons", "tolerated", "powered", "pairs", "iterations", "noise_s"):
        if name not in keys:
            continue
        least = {"pairs": LEAST_PAIRS, "powered": 0, "tolerated": 0}.get(name, 1)
        try:
            sizes[name] = int(keys[name])
        except ValueError:
            sizes[name] = least - 1
        if sizes[name] < least:
            raise UsageError(f"selfcheck: {name}={keys[name]}: a whole number, at least {least}")
    return replace(form, **sizes)


def _slo(arguments: Sequence[str]) -> ExitStatus:
    """Find the largest request rate at which a percentile of the response keeps a limit."""
    from harness import compose, folder, slo  # noqa: PLC0415 - only when asked for
    from harness.console import Console  # noqa: PLC0415
    from harness.plan import Planner  # noqa: PLC0415

    own = [word for word in arguments if word.partition("=")[0] in SLO_KEYS]
    keys = _keys("slo", own, SLO_KEYS)
    limit_s = _milliseconds(keys.get("slo_ms", ""))
    configs = compose.points([word for word in arguments if word not in own])
    if len(configs) != 1:
        raise UsageError(f"slo: one point at a time, found {len(configs)}")
    console = Console()
    goal = slo.Goal(limit_s, int(keys["percentile"]), _steps(keys.get("steps", "6")))
    place = folder.create(Path(configs[0].outputs))
    search = slo.Search(
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


SLO_KEYS = {"slo_ms": (), "percentile": ("99", "50", "90", "95"), "steps": ()}
LEAST_STEPS = 2


def _milliseconds(text: str) -> float:
    try:
        value = float(text) / 1e3
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"slo: slo_ms={text or 'missing'}: a limit in milliseconds, above 0")
    return value


def _steps(text: str) -> int:
    if not text.isdigit() or int(text) < LEAST_STEPS:
        raise UsageError(f"slo: steps={text}: a whole number, at least {LEAST_STEPS}")
    return int(text)


HISTORY_KEYS = {"metric": (), "point": (), "format": ("text", "csv", "json"), "plot": ()}


def _history(arguments: Sequence[str]) -> ExitStatus:
    """Show a metric over time: every trial of a point in any number of sweeps."""
    places = [Path(word) for word in arguments if "=" not in word] or [Path("outputs")]
    keys = _keys("history", [word for word in arguments if "=" in word], HISTORY_KEYS)
    for place in places:
        if not place.is_dir():
            raise UsageError(f"history {place}: there is no such folder")
    import reports.trends as shown  # noqa: PLC0415 - heavy
    from harness import history  # noqa: PLC0415

    found = history.trends(
        places, metric=keys.get("metric", "latency.mean"), point=keys.get("point", "")
    )
    if not found:
        raise UsageError("history: no measured point matches; leave point= out to see all")
    sys.stdout.write(shown.FORMATS[keys["format"]](found))
    if "plot" in keys:
        sys.stdout.write(f"{shown.plot(found, Path(keys['plot']))}\n")
    return ExitStatus.FINE


CLEAN_KEYS = {
    "what": ("all", "sweeps", "cache"),
    "older": (),
    "above": (),
    "outputs": (),
    "apply": ("false", "true"),
}


def _clean(arguments: Sequence[str]) -> ExitStatus:
    """Name, and with apply=true remove, sweeps and cache entries that are old or too large."""
    keys = _keys("clean", arguments, CLEAN_KEYS)
    from harness import clean  # noqa: PLC0415
    from harness.console import Console  # noqa: PLC0415
    from harness.units import duration, parse_duration, parse_size, size  # noqa: PLC0415

    older_s = parse_duration(keys["older"]) if "older" in keys else None
    above = parse_size(keys["above"]) if "above" in keys else None
    if "older" in keys and older_s is None:
        raise UsageError(f"clean: older={keys['older']}: a time such as 12h or 30d")
    if "above" in keys and above is None:
        raise UsageError(f"clean: above={keys['above']}: a size such as 500M or 20G")
    kinds = []
    if keys["what"] in {"all", "sweeps"}:
        kinds.append(clean.sweeps(Path(keys.get("outputs", "outputs"))))
    if keys["what"] in {"all", "cache"}:
        kinds.append(clean.caches())
    console, apply = Console(), keys["apply"] == "true"
    if older_s is None and above is None:
        for items in kinds:
            for item in items:
                console.say(
                    f"{size(item.size_bytes):>11}  {duration(item.age_s):>12} old  "
                    f"{item.kind:<15} {item.path}"
                )
        console.say("nothing is chosen: say older=30d, above=20G or both")
        return ExitStatus.FINE
    going = [
        one for items in kinds for one in clean.chosen(items, older_s=older_s, above_bytes=above)
    ]
    for item in going:
        if apply:
            clean.remove(item)
        console.say(f"{size(item.size_bytes):>11}  {item.kind:<15} {item.path}")
    total = size(sum(item.size_bytes for item in going))
    done = "removed" if apply else "would go; apply=true removes them"
    console.say(f"{len(going)} with {total} {done}")
    return ExitStatus.FINE


COMMANDS: dict[str, Callable[[Sequence[str]], ExitStatus]] = {
    "backends": _backends,
    "baseline": _baseline,
    "clean": _clean,
    "compare": _compare,
    "doctor": _doctor,
    "export": _export,
    "fetch": _fetch,
    "history": _history,
    "report": _report,
    "selfcheck": _selfcheck,
    "slo": _slo,
    "verify": _verify,
}


def run(word: str, arguments: Sequence[str]) -> ExitStatus:
    """Run a subcommand.

    Raises:
        UsageError: there is no such subcommand, or its arguments are wrong.
    """
    if word not in COMMANDS:
        possible = ", ".join(sorted(COMMANDS))
        raise UsageError(f"'{word}' is neither key=value nor a command; commands: {possible}")
    return COMMANDS[word](arguments)
