"""Takes up a sweep that ended too early: which one, whether it may, and what of it is kept."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import regular
from harness.errors import ResultFileError, UsageError
from harness.machine import environment, signature
from harness.records import identity, journal, result_file, sweep_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness.planning.planner import PlannedPoint

    Notify = Callable[[str], None]


LOST = "lost"
"""The stop reason of a point whose machine went away: failed, and taken up by a later session."""
TAKEN_UP = ("interrupted", LOST)
RETRIED = ("failed", "timeout")
LAUNCHERS = ".submitit"
"""Where a launcher keeps what its jobs leave (conf/hydra/launcher)."""


@dataclass(frozen=True)
class SweepRequest:
    """What makes two commands the same: the points with their method, and what they run on."""

    key: str
    conditions: Mapping[str, Any]
    rounds: int = 1
    """How often the whole sweep is measured, each time into a folder of its own."""
    retry: bool = False
    """Failed points are measured again."""


@dataclass(frozen=True)
class SweepPlace:
    """Where one round of a sweep goes: a folder to continue, or None for a new one."""

    folder: Path | None
    number: int
    """Of the round, from 1."""
    group: str
    """What the rounds of one command share."""


def asked(points: Sequence[PlannedPoint], *, rounds: int, retry: bool) -> SweepRequest:
    """Return what is asked for, in terms that a folder can be held against."""
    return SweepRequest(
        identity.point_id(
            {
                "points": [
                    {
                        "id": one.point.id,
                        "side": one.side.value,
                        "method": asdict(one.config.measure),
                    }
                    for one in points
                ],
                "rounds": rounds,
            }
        ),
        conditions(points),
        rounds,
        retry,
    )


def conditions(points: Sequence[PlannedPoint]) -> dict[str, Any]:
    """Return what the point's id does not hold and a result rests on all the same."""
    found: dict[str, Any] = {"machine": signature.here().record(), **environment.versions()}
    for one in points:
        runtime, device = one.probe.get("runtime") or {}, one.probe.get("device") or {}
        name = one.config.backend["name"]
        found[f"device {','.join(one.config.devices)} of {name}"] = str(device.get("name"))
        found[f"runtime of {name}"] = f"{runtime.get('name')} {runtime.get('version')}"
    return found


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what is not the same, each as `name: then -> now`; the machine part by part."""
    return [
        *_other_machine(was, now),
        *(
            f"{key}: {was.get(key, 'unknown')} -> {now.get(key, 'unknown')}"
            for key in dict.fromkeys([*was, *now])
            if key not in {"machine", "host"} and was.get(key) != now.get(key)
        ),
    ]


def _other_machine(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in what the machine differs; sweeps from before signatures know a host's name only."""
    before, after = (signature.stored(one.get("machine")) for one in (was, now))
    if before == after:
        return []
    if before == signature.Signature():
        return [f"machine: unknown (host {was.get('host', 'unknown')}) -> {after.model}"]
    return [f"{one.name}: {one.before} -> {one.after}" for one in signature.compared(before, after)]


def unfinished(facts: Mapping[str, Any], *, retry: bool) -> bool:
    """Return whether a sweep's last session left points to measure."""
    if facts.get("ended") is None:
        return True
    wanted = {*TAKEN_UP, *(RETRIED if retry else ())}
    return bool(wanted & set(facts["ended"]["states"].values()))


def automatic(outputs: Path, what: SweepRequest, notify: Notify) -> SweepPlace:
    """Return where the same command left off, or a new place.

    What was measured on another machine or with other versions is left as it is, and named.
    """
    for folder in reversed(sweep_folder.sweeps(outputs)):
        facts = sweep_folder.facts(folder)
        if facts.get("key") != what.key or sweep_folder.is_held(folder) or not _sound(facts):
            continue
        other = differences(facts["conditions"], what.conditions)
        repeat = facts["repeat"]
        # A lock nobody holds: killed before it ended in good order, if only before its report.
        if unfinished(facts, retry=what.retry) or sweep_folder.is_left_behind(folder):
            other += filter(None, [_strange(folder)])
            if not other:
                return SweepPlace(folder, repeat["number"], repeat["group"])
            notify(f"{folder} is not continued ({'; '.join(other)}): measured anew")
        elif repeat["number"] < what.rounds and not other:
            return SweepPlace(None, repeat["number"] + 1, repeat["group"])
        break
    return anew()


def _sound(facts: Mapping[str, Any]) -> bool:
    """Return whether a `sweep.json` has what continuing needs, each of its type."""
    repeat, ended = facts.get("repeat"), facts.get("ended")
    return (
        isinstance(facts.get("conditions"), dict)
        and isinstance(repeat, dict)
        and isinstance(repeat.get("number"), int)
        and isinstance(repeat.get("group"), str)
        and (ended is None or (isinstance(ended, dict) and isinstance(ended.get("states"), dict)))
    )


def _strange(folder: Path) -> str | None:
    """Return what in a folder is no file or folder of its own: writing might lead out of it."""
    # A launcher links its own files there; it only ever works in a folder that is known.
    path = regular.first_strange(folder, but=LAUNCHERS)
    if path is None or path.name == sweep_folder.LOCK_FILE:
        # Taking the lock says what to do about it.
        return None
    return f"{path} is a link or no regular file: remove it, or copy the folder without it"


def anew() -> SweepPlace:
    """Return a new place for the first round."""
    return SweepPlace(None, 1, secrets.token_hex(4))


def named(folder: Path, what: SweepRequest) -> SweepPlace:
    """Return the folder the user named, if it holds this very sweep.

    Raises:
        UsageError: it holds no sweep, another one, or one measured under other conditions.
    """
    facts = sweep_folder.facts(folder)
    if not _sound(facts):
        raise UsageError(f"resume={folder}: not a sweep's folder (there is no sweep.json of ours)")
    if facts.get("key") != what.key:
        raise UsageError(
            f"resume={folder}: holds another sweep: its points, models or method differ; give "
            f"resume={folder} alone to continue it as it was, or leave resume out"
        )
    other = differences(facts["conditions"], what.conditions)
    if other:
        raise UsageError(
            f"resume={folder}: cannot be continued here ({'; '.join(other)}); leave resume out to "
            "measure anew"
        )
    if strange := _strange(folder):
        raise UsageError(f"resume={folder}: {strange}")
    return SweepPlace(folder, facts["repeat"]["number"], facts["repeat"]["group"])


def progress(folder: Path | None, *, retry: bool) -> tuple[str | None, int]:
    """Return the state of a point that is finished, else None and its whole processes; read only.

    Args:
        folder: the point's folder, None when there is no sweep to continue.
        retry: failed points count as unfinished.
    """
    if folder is None or not folder.is_dir():
        return None, 0
    document = latest_document(folder)
    if document is not None and not is_taken_again(document, retry=retry):
        return document["status"]["state"], 0
    parts = [len(list(path.glob("[0-9]*.json"))) for path in folder.glob("*.parts")]
    return None, max([*parts, len(whole_processes(document)) if document else 0])


def is_taken_again(document: Mapping[str, Any], *, retry: bool) -> bool:
    """Return whether a document leaves something to measure."""
    ended = {document["status"]["state"], document["method"]["stop_reason"]}
    return bool(ended & {*TAKEN_UP, *(RETRIED if retry else ())})


def latest_document(folder: Path, point: str | None = None) -> dict[str, Any] | None:
    """Return the last trial of a point's folder.

    Args:
        folder: of the point.
        point: the id it must have, and its facts too; None: any.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json*")):
        with contextlib.suppress(ResultFileError):
            document = result_file.load_trial(path)
            facts = document["point"]["config"]
            if point is None or identity.point_id(facts) == point:
                found[document["trial_id"]] = document
    superseded = {one["supersedes"] for one in found.values()}
    last = [one for key, one in found.items() if key not in superseded]
    return last[-1] if last else None


def whole_processes(document: Mapping[str, Any]) -> list[journal.Entry]:
    """Return the processes of a document that ended in good order, as a journal holds them."""
    rounds: dict[int, list[dict[str, Any]]] = {}
    for one in document["processes"]:
        rounds.setdefault(one["index"], []).append(one)
    whole = [
        together
        for together in rounds.values()
        if not any("error" in one or "interrupted" in one for one in together)
    ]
    settings = {key: one for key, one in document["settings"].items() if key != "requested"}
    each_s = document["method"]["spent_s"] / max(1, len(rounds))
    return [
        {
            "record": {**first, "index": index},
            "beside": [{**one, "index": index} for one in others],
            "settings": settings,
            "cut_short": document["method"]["cut_short"],
            "spent_s": each_s,
            "state": "ok",
            "reason": None,
        }
        for index, (first, *others) in enumerate(whole, 1)
    ]
