"""What a sweep's folder may decide when it is measured again (docs/security.md).

Nothing that runs and no place comes from a file, unless this user's ledger knows every result of
the folder and its `sweep.json`, or the user allows it or says the same now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import regular
from harness.config.choices import Allow
from harness.errors import UsageError
from harness.plain_text import quoted
from harness.planning import asked
from harness.records import ledger
from harness.records.sweep_folder import SWEEP_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from harness.planning.asked import Ask


FILES = (SWEEP_FILE, "points/*/*.json*")
SIDES = ("", "baseline/", "control/")


def allowed(words: Sequence[str]) -> list[Allow]:
    """Return what the user allows a file to decide.

    Raises:
        UsageError: a word that names nothing.
    """
    found = []
    for word in asked.allowed(words):
        if word not in list(Allow):
            raise UsageError(f"allow={word}: possible: {', '.join(Allow)}")
        found.append(Allow(word))
    return found


def refuse_unknown(
    subject: str, folder: Path, asks: Sequence[Ask], allow: Collection[Allow]
) -> None:
    """Refuse what a folder asks for, unless it is allowed or the ledger knows the folder.

    Args:
        subject: what the user wrote, such as `baseline=DIR`.
        folder: of the sweep.
        asks: what its files ask for.
        allow: kinds that the user allows.

    Raises:
        UsageError: in one line: what is asked for, why it is refused, how to allow it.
    """
    left = [one for one in asks if one.kind not in allow]
    if not left:
        return
    contents = {path: _digest(folder / path) for path in _files(folder)}
    known = ledger.known(set(contents.values()))
    strange = [path for path, digest in contents.items() if digest not in known]
    if strange or not contents:
        which = strange[0] if strange else SWEEP_FILE
        why = f"{quoted(which)} there is not as any sweep of yours on this machine wrote it"
        raise UsageError(_refusal(subject, left, why))
    identities = {
        command: seen
        for sweeps in known.values()
        for interpreters in sweeps
        for command, seen in interpreters.items()
    }
    changed = [
        one for one in left if not all(_same(command, identities) for command in one.commands)
    ]
    if changed:
        why = "that program is not what it was when the sweep was measured"
        raise UsageError(_refusal(subject, changed, why))


def _same(command: str, identities: dict[str, str | None]) -> bool:
    seen = identities.get(command)
    try:
        return seen is not None and ledger.identity(command) == seen
    except (OSError, ValueError):
        return False


def refuse_launcher(subject: str, folder: Path, allow: Collection[Allow]) -> None:
    """Refuse to let a launcher work in a folder that is not known: it loads objects from there.

    Raises:
        UsageError: the ledger does not know the folder's `sweep.json`.
    """
    if Allow.launcher not in allow and not ledger.known({_digest(folder / SWEEP_FILE)}):
        raise UsageError(
            f"{subject}: a launcher loads what its jobs leave in the folder, and {SWEEP_FILE} "
            "there is not as any sweep of yours on this machine wrote it; add allow=launcher if "
            "you know who made it, or leave the launcher out"
        )


def _files(folder: Path) -> list[str]:
    paths = [path for side in SIDES for one in FILES for path in folder.glob(side + one)]
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _digest(path: Path) -> str:
    try:
        return ledger.digest(regular.read(path))
    except OSError:
        return ""


def _refusal(subject: str, asks: Sequence[Ask], why: str) -> str:
    words = ", ".join(quoted(one.word) for one in asks)
    kinds = ",".join(sorted({one.kind.value for one in asks}))
    keys = ", ".join(dict.fromkeys(f"{one.key}=" for one in asks if one.key))
    again = f", or give the same {keys} in this command" if keys else ""
    return (
        f"{subject} asks for {words}, which is not taken from a file: {why}; if you trust it, add "
        f"allow={kinds}{again}"
    )
