"""The finished processes of an unfinished trial: on disk from the moment each ends.

A trial holds none of them in memory, so a sweep of many points needs no more of it than a small
one, and one that is killed continues from what lies here.
"""

from __future__ import annotations

import json
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from harness import files
from harness.records import result_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


HEAD = "trial.json"
Entry = dict[str, Any]
"""A process: its `record`, those of other devices in the same round (`beside`), what its worker
said (`settings`), seconds, and how it ended."""


class Journal:
    """One trial's folder of finished processes, beside where its result file will be."""

    def __init__(self, folder: Path, trial_id: str) -> None:
        self.trial_id = trial_id
        self.path = result_file.parts_folder(folder, trial_id)

    def begin(self, head: Mapping[str, Any], entries: Iterable[Entry] = ()) -> None:
        """Make the folder, whole or not at all.

        Args:
            head: what is known of the trial before its first process.
            entries: processes it takes over from an earlier file.

        Raises:
            OSError: it cannot be written.
        """
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.tmp")
        try:
            part.mkdir(parents=True)
            files.write_whole(part / HEAD, files.pretty(head), replace=True)
            for entry in entries:
                _write(part, entry)
            part.rename(self.path)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def head(self) -> dict[str, Any]:
        """Return what `begin` was given."""
        found: dict[str, Any] = json.loads((self.path / HEAD).read_bytes())
        return found

    def amend(self, head: Mapping[str, Any]) -> None:
        """Replace the head."""
        files.write_whole(self.path / HEAD, files.pretty(head), replace=True)

    def add(self, entry: Entry) -> None:
        """Keep a finished process.

        Raises:
            OSError: it cannot be written.
        """
        _write(self.path, entry)

    def entries(self) -> Iterator[Entry]:
        """Yield the finished processes, in order."""
        paths = (path for path in self.path.glob("*.json") if path.stem.isdigit())
        for path in sorted(paths, key=lambda one: int(one.stem)):
            yield json.loads(path.read_bytes())

    def remove(self, entry: Entry) -> None:
        """Take a process out again."""
        (self.path / f"{entry['record']['index']}.json").unlink()

    def drop(self) -> None:
        """Remove it: its trial is in a result file."""
        shutil.rmtree(self.path, ignore_errors=True)


def _write(folder: Path, entry: Entry) -> None:
    content = files.pretty(entry)
    files.write_whole(folder / f"{entry['record']['index']}.json", content, replace=True)


def found(folder: Path) -> list[Journal]:
    """Return the journals of a point's folder, oldest first; leavings of a killed writer go."""
    files.drop_leavings(folder)
    return [Journal(folder, path.stem) for path in sorted(folder.glob("*.parts"))]
