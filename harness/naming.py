"""What varies: the points of a sweep, each named by the keys in which it differs from the others.

Terminal, logs, summary, pages and comparisons all take their names from here, so that two points
never look the same on any of them. A record is what result files and `sweep.json` hold of a point:
`id`, `name`, `config`, and `asked`, what the command said of keys that `config` does not hold.
Files of before have no `asked`: such a key is then absent, and the id tells their points apart.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Record = Mapping[str, Any]


ASKED = "asked"
FOLLOWS = frozenset({"models", "sync"})
"""Facts that only follow from another choice, such as the hashes of the model files."""
FIRST = ("backend", "quant", "bs", "il", "waveglow", "devices", "model", "models_dir", "scenario")
"""The most telling keys, in the order they are named in; the others follow by the alphabet."""
IN_LOG_NAMES = frozenset({"quant", "bs", "il"})
"""Keys that the original's own log name holds."""
DIGITS = 6
"""Of a point's id, where nothing else tells two names apart."""
LONGEST_FILE = 150
"""Characters of a file name; a file system takes 255 bytes."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_.,:+=@%~-]+")
_RENAMED = (
    ("backend.name", "backend"), ("backend.options.", "backend."),
    ("scenario.kind", "scenario"), (f"{ASKED}.", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """One key in which points differ, with what one of them has there."""

    key: str
    """As it is typed."""
    value: Any
    text: str
    """The value in one line; of a path only its last parts, as many as tell it from the others."""

    def __str__(self) -> str:
        return f"{self.key}={self.text}"


def choices(record: Record) -> dict[str, Any]:
    """Return what was chosen for a point, by the keys as they are typed; a null is left out.

    A null in `asked` stays: it says that the key was left alone where other points set it.
    """
    asked = record.get(ASKED) or {}
    config = record.get("config") or {}
    held = {
        _typed(path): value
        for key, one in config.items()
        if key not in FOLLOWS
        for path, value in flat(str(key), one)
        if value is not None or key == ASKED
    }
    return {**held, **{str(key): value for key, value in asked.items()}}


def flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their dotted paths, below `path`."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from flat(f"{path}.{key}", one)
    else:
        yield path, value


def _typed(path: str) -> str:
    for prefix, typed in _RENAMED:
        if path.startswith(prefix):
            return typed + path[len(prefix) :]
    return path


def varying(records: Iterable[Record]) -> list[str]:
    """Return the keys in which points differ, the most telling first.

    A key of a group, such as `backend.intra_threads`, tells only points of the same group apart:
    where the backends differ, that says it.
    """
    return _differing([choices(one) for one in records])


def _differing(every: Sequence[Mapping[str, Any]]) -> list[str]:
    seen: dict[str, dict[str, set[str]]] = {}
    keys = dict.fromkeys(key for one in every for key in one)
    for key in keys:
        for one in every:
            seen.setdefault(key, {}).setdefault(_group(key, one), set()).add(repr(one.get(key)))
    differing = (key for key in keys if any(len(values) > 1 for values in seen[key].values()))
    return sorted(differing, key=rank)


def rank(key: str) -> tuple[int, str]:
    """Return what keys are sorted by: the most telling first."""
    return (FIRST.index(key) if key in FIRST else len(FIRST)), key


def what_varies(records: Sequence[Record], *, but: Iterable[str] = ()) -> list[tuple[Choice, ...]]:
    """Return, for each point, its choices where the points differ; null where one is left alone.

    Args:
        records: the points of a sweep.
        but: keys that are said already.
    """
    every = [choices(one) for one in records]
    left_out = frozenset(but)
    keys = [key for key in _differing(every) if key not in left_out]
    unsaid = {str(name) for one in records for name in one.get(ASKED) or ()}
    told: list[list[Choice]] = [[] for _ in records]
    for key in keys:
        groups = {_group(key, one) for one in every if key in one}
        having = [
            place
            for place, one in enumerate(every)
            if key in one
            or (_group(key, one) in groups and (key not in unsaid or ASKED in records[place]))
        ]
        texts = _texts([every[place].get(key) for place in having])
        for place in having:
            value = every[place].get(key)
            told[place].append(Choice(key, value, texts[repr(value)]))
    return [tuple(one) for one in told]


def _group(key: str, chosen: Mapping[str, Any]) -> str:
    """Return the value of the group a key belongs to; empty for a key of no group."""
    group = key.partition(".")[0]
    return repr(chosen.get(group)) if group != key else ""


def _texts(values: Sequence[Any]) -> dict[str, str]:
    """Return the text of each value, by its repr: of paths the last parts that differ."""
    whole = {repr(one): text(one) for one in values}
    if not any(isinstance(one, str) and "/" in one for one in values):
        return whole
    parts = {key: one.rstrip("/").split("/") for key, one in whole.items()}
    for count in range(1, max(map(len, parts.values()))):
        tails = {key: "/".join(one[-count:]) for key, one in parts.items()}
        if len(set(tails.values())) == len(tails):
            return tails
    return whole


def text(value: Any) -> str:
    """Return a value in one line, as it is typed on a command line."""
    if isinstance(value, str):
        shown = value
    elif isinstance(value, list | tuple):
        shown = ",".join(map(text, value))
    elif isinstance(value, float):
        shown = f"{value:.12g}"
    else:
        shown = json.dumps(value, sort_keys=True, default=str)
    return "".join(one if one.isprintable() else "?" for one in shown)


# --- names -----------------------------------------------------------------------------------


def distinct(
    names: Sequence[str], ids: Sequence[str], join: Callable[[str, str], str], longest: int = 0
) -> list[str]:
    """Return names of which no two are equal, letters' case aside.

    Args:
        names: as they would be.
        ids: of the points, in the same order; equal names get the first digits.
        join: puts a name and what tells it apart together.
        longest: most characters of a name; 0: any number.
    """

    def joined(place: int, mark: str) -> str:
        room = longest - (len(join("", mark)) if mark else 0)
        name = names[place][:room] if longest else names[place]
        return join(name, mark) if mark else name

    made = [joined(place, "") for place in range(len(names))]
    count = Counter(one.casefold() for one in made)
    made = [
        one if count[one.casefold()] == 1 else joined(place, ids[place][:DIGITS])
        for place, one in enumerate(made)
    ]
    taken: set[str] = set()
    for place in range(len(made)):
        number = 1
        while made[place].casefold() in taken:  # the ids begin alike, or another point is so called
            number += 1
            made[place] = joined(place, f"{ids[place][:DIGITS]}.{number}")
        taken.add(made[place].casefold())
    return made


def file_safe(name: str) -> str:
    """Return a name without anything that a path or a shell reads as more than a name."""
    plain = re.sub(r"\.{2,}", ".", _UNSAFE.sub("_", name))
    return plain.strip("._-:")[:LONGEST_FILE] or "_"


def _in_file(choices_made: Iterable[Choice], joint: str) -> str:
    return joint.join(file_safe(str(one)) for one in choices_made)


def _ids(records: Iterable[Record]) -> list[str]:
    return [_UNSAFE.sub("_", str(one.get("id", ""))) for one in records]


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Return the places of names that several points share, letters' case aside."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(name.casefold(), []).append(place)
    return [places for places in groups.values() if len(places) > 1]


def _told_apart(
    names: Sequence[str], records: Sequence[Record], joint: str, but: Iterable[str] = ()
) -> list[str]:
    """Return the names; those that several points share with what varies among these behind."""
    told = list(names)
    for places in _alike(names):
        varies = what_varies([records[place] for place in places], but=but)
        for place, one in zip(places, varies, strict=True):
            told[place] = joint.join(part for part in (told[place], _in_file(one, joint)) if part)
    return told


def called(records: Sequence[Record], *, longest: int = 0) -> list[str]:
    """Return the full name of each point: as stored, with what varies where several share it.

    Args:
        records: the points of a sweep.
        longest: most characters of a name; 0: any number.
    """
    names = [str(one.get("name") or one.get("id")) for one in records]
    told = _told_apart(names, records, "-")
    return distinct(told, _ids(records), lambda name, mark: f"{name}-{mark}", longest)


def varies_text(records: Sequence[Record]) -> list[str]:
    """Return what varies of each point as `key=value key=value`, the same for no two points."""
    names = [" ".join(map(str, one)) for one in what_varies(records)]
    return distinct(names, _ids(records), lambda name, mark: f"{name} id={mark}".strip())


def log_names(originals: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Return a file name for the log of each point; no two are one file on any file system.

    Args:
        originals: the names the original would give; those that only one point has stay.
        records: the points, in the same order.
    """
    names = [file_safe(one) for one in originals]
    told = _told_apart(names, records, "_", IN_LOG_NAMES)
    return distinct(told, _ids(records), lambda name, mark: f"{name}_{mark}", LONGEST_FILE)


# --- the terminal ------------------------------------------------------------------------------

DEFAULTS = {"backend": "onnxruntime", "scenario": "single_stream", "waveglow": False}
"""What is said of a point only where it is another value."""


def settings(records: Sequence[Record], sides: Sequence[str]) -> list[str]:
    """Return what the terminal calls each point: its settings, and whatever else varies.

    Args:
        records: the points of a command, those measured beside the candidates too.
        sides: what each is measured for, in the same order; nothing is said of a candidate.
    """
    names = []
    for record, side, varies in zip(records, sides, what_varies(records), strict=True):
        parts = dict(_always(choices(record)))
        parts |= {one.key: str(one) for one in varies if one.key not in parts}
        before = [] if side == "candidate" else [f"{side}:"]
        names.append(" ".join([*before, *parts.values()]))
    return distinct(names, _ids(records), lambda name, mark: f"{name} id={mark}")


def _always(chosen: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("bs", "quant", "il"):
        yield key, f"{key}={text(chosen.get(key))}"
    for key, default in DEFAULTS.items():
        if chosen.get(key, default) != default:
            yield key, key if chosen[key] is True else f"{key}={text(chosen[key])}"
    for key in ("scenario.rate", "scenario.load"):
        if key in chosen:
            yield key, f"{key}={text(chosen[key])}"
