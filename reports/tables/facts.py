"""The circumstances of a measurement as plain tables: environment, method, models, commands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.plain_text import hydra_value
from harness.units import interval
from reports.tables.starts import STARTS
from reports.text import copied
from reports.text.plain import plain
from reports.text.precision import stage_precision
from reports.text.scales import DASH, seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reports.text.copied import CopiedCommand
    from reports.views.points import PointView, SweepView


UNKNOWN = "unknown"
MOST_ENTRIES = 400


@dataclass(frozen=True)
class Fact:
    """One line of a record; `differs` when not every point has the same value."""

    key: str
    value: str
    differs: bool = False


@dataclass(frozen=True)
class FactGroup:
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


def flat_facts(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys and values in words; null is `unknown`, with its reason when it has one."""
    for key in sorted(record, key=str):
        value, path = record[key], f"{prefix}{key}"
        if isinstance(value, dict) and set(value) == {"value", "reason"}:
            shown = value["value"]
            if shown is None:
                yield path, f"{UNKNOWN}: {plain(value['reason'] or 'no reason recorded')}"
            else:
                yield path, _text(shown)
        elif isinstance(value, dict) and value:
            yield from flat_facts(value, f"{path}.")
        else:
            yield path, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) for one in value) or "none"
    if isinstance(value, int) and abs(value) >= 10_000:  # noqa: PLR2004 - four digits read as one
        return f"{value:,}"
    return plain(value)


def environment_groups(sweep: SweepView) -> list[FactGroup]:
    """Return the recorded environment by group, what differs between points first."""
    records = [
        record
        for point in sweep.points
        if (record := (point.document.get("environment") or {}).get("before"))
    ]
    if not records:
        return []
    flats = [dict(flat_facts(record)) for record in records[:MOST_ENTRIES]]
    keys = sorted({key for flat in flats for key in flat})
    groups: dict[str, list[Fact]] = {}
    for key in keys:
        values = list(dict.fromkeys(flat.get(key, UNKNOWN) for flat in flats))
        shown = values[0] if len(values) == 1 else f"{len(values)} values: {_range(values)}"
        title, _, rest = key.partition(".")
        fact = Fact(rest or title, shown, differs=len(values) > 1)
        groups.setdefault(title if rest else "general", []).append(fact)
    return [
        FactGroup(title, tuple(sorted(facts, key=lambda fact: not fact.differs)))
        for title, facts in groups.items()
    ]


def _range(values: Sequence[str]) -> str:
    ordered = sorted(values)
    return ", ".join(ordered) if len(ordered) <= 3 else f"{ordered[0]} … {ordered[-1]}"  # noqa: PLR2004


@dataclass(frozen=True)
class Change:
    """Something of the environment that was not the same after a point as before it."""

    key: str
    before: str
    after: str
    """Of the first point that saw it."""
    points: int


def changes(sweep: SweepView) -> list[Change]:
    """Return what changed while points were measured, the most frequent first."""
    found: dict[str, Change] = {}
    for point in sweep.points:
        environment = point.document.get("environment") or {}
        for key in environment.get("changed") or ():
            name = plain(key)
            if name in found:
                found[name] = replace(found[name], points=found[name].points + 1)
                continue
            ends = (environment.get(end) or {} for end in ("before", "after"))
            before, after = (dict(flat_facts(end)).get(name, UNKNOWN) for end in ends)
            found[name] = Change(name, before, after, 1)
    return sorted(found.values(), key=lambda one: (-one.points, one.key))


def selfchecks(sweep: SweepView) -> list[str]:
    """Return what the results quote of their host's own check, one sentence for each that differs.

    Empty when no result says anything of it.
    """
    found = (point.document.get("selfcheck") for point in sweep.points)
    return list(dict.fromkeys(_selfcheck(one) for one in found if one))


def _selfcheck(quoted: Mapping[str, Any]) -> str:
    if "reason" in quoted:
        return plain(quoted["reason"])
    verdict = "passed" if quoted.get("passed") else "not passed"
    kernel = "" if quoted.get("same_kernel") else ", under another kernel"
    return (
        f"{verdict}: {quoted.get('different')} of {quoted.get('comparisons')} comparisons of equal "
        f"work came out different; the smallest effect ten blocks can show is "
        f"{quoted.get('mde') or 0.0:.1%}. Checked {plain(str(quoted.get('started'))[:10])}{kernel}"
    )


def method_facts(sweep: SweepView) -> tuple[Fact, ...]:
    """Return every setting of the method that was used."""
    flats = [dict(flat_facts(point.document.get("method") or {})) for point in sweep.points]
    flats = [flat for flat in flats if flat]
    keys = sorted({key for flat in flats for key in flat})
    facts = []
    for key in keys:
        values = list(dict.fromkeys(flat.get(key, UNKNOWN) for flat in flats))
        shown = values[0] if len(values) == 1 else f"{len(values)} values: {_range(values)}"
        facts.append(Fact(key, shown, differs=len(values) > 1))
    return tuple(facts)


_SCENARIOS = {
    "single_stream": "the next request is sent when the last is done. It cannot see queueing: a "
    "stall delays the request behind it and is charged to nobody who would have waited, so these "
    "figures tell service times, not response times under load nor how many requests can be "
    "taken on. scenario=server measures those",
    "offline": "all requests are there at once: what can be completed at most; nobody waits for "
    "a single one, so it says nothing of response times",
    "server": "requests arrive at random times made beforehand, and the response counts from when "
    "a request was due: waiting is part of it",
}


def scenarios(sweep: SweepView) -> list[Fact]:
    """Return what each way in which requests came can tell and what it cannot see."""
    found = (point.config.get("scenario") or "single_stream" for point in sweep.measured)
    kinds = dict.fromkeys(str(one.get("kind") if isinstance(one, dict) else one) for one in found)
    return [Fact(kind, text) for kind, text in _SCENARIOS.items() if kind in kinds]


def setting_rows(point: PointView) -> tuple[tuple[str, ...], ...]:
    """Return, per stage: requested, effective, device, provider, how it was read back, model."""
    settings = point.document.get("settings") or {}
    models = point.document.get("models") or {}
    rows = []
    found = settings.get("effective") or {}
    order = [stage["name"] for stage in point.document.get("stages") or ()]
    for name in sorted(found, key=lambda one: order.index(one) if one in order else len(order)):
        effective = found[name]
        model = models.get(name) or {}
        source = effective.get("source") if effective.get("verified") else effective.get("reason")
        weights = effective.get("weights")
        rows.append(
            (
                plain(name),
                plain(effective.get("requested") or point.quant),
                stage_precision(effective),
                plain(effective.get("provider") or effective.get("device") or UNKNOWN),
                plain("; weights ".join(filter(None, (source or UNKNOWN, weights)))),
                plain(model.get("form") or UNKNOWN),
                plain(model.get("sha256") or UNKNOWN),
            )
        )
    return tuple(rows)


def start_facts(point: PointView) -> tuple[Fact, ...]:
    """Return the times before the steady state: compile, load, first pass."""
    facts = []
    for subject, title in STARTS.items():
        record = point.record(subject, "mean")
        if record is not None and record.estimate is not None:
            ends = interval(record.low, record.high, seconds_text, DASH)
            span = f" (95 % {ends})" if ends else ""
            facts.append(Fact(title, seconds_text(record.estimate) + span))
    return tuple(facts)


def runtime_text(point: PointView) -> str:
    """Return runtime, version and device of a point."""
    settings = point.document.get("settings") or {}
    runtime, device = settings.get("runtime") or {}, settings.get("device") or {}
    name = " ".join(plain(runtime.get(key)) for key in ("name", "version") if runtime.get(key))
    where = plain(device.get("name") or device.get("id") or "")
    return " on ".join(part for part in (name, where) if part)


def command_of(point: PointView) -> CopiedCommand:
    """Return the command that measures this point again."""
    config = point.config
    backend = config.get("backend") or {}
    method = point.document.get("method") or {}
    values = {"backend": backend["name"]} if backend.get("name") else {}
    values |= {key: config[key] for key in ("quant", "bs", "il") if key in config}
    values["waveglow"] = bool(config.get("waveglow"))
    model = config.get("model")
    values |= {"model": model} if model else {}
    values |= {"seed": config["seed"]} if "seed" in config else {}
    values |= {"measure": method["profile"]} if method.get("profile") else {}
    values |= {k: method[k] for k in ("warmup_iters", "num_iters") if method.get(k) is not None}
    values |= {
        f"backend.{key}": value
        for key, value in sorted((backend.get("options") or {}).items())
        if value is not None
    }
    words = [f"{key}={hydra_value(value)}" for key, value in values.items()]
    if config.get("devices"):
        words.append(f"devices=[{','.join(map(str, config['devices']))}]")
    made = copied.of_words(words)
    # Where the files are is for whoever has them; the page names no place.
    return made if model else replace(made, text=f"{made.text} models_dir=FOLDER")
