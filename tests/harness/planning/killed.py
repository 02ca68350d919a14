"""Runs a sweep again and again and kills its controller at moments drawn from a seed.

Started by test_resume.py in a process of its own: `killed.py FOLDER KILLS SEED ARGUMENTS...`.
A moment is a number of calls and returns since the sweep began, so any two lines of the controller
can be parted, also a write and the rename that follows it. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from harness import __main__
from harness.commands import live_report
from harness.machine import environment
from harness.measuring import sweep
from harness.planning import compose


def controller(folder: Path, arguments: list[str], kill_at: int | None, tally: Path) -> int:
    """Run one session in a forked process; return its wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    os.chdir(folder)
    for descriptor in (1, 2):
        os.dup2(
            os.open(tally.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor
        )
    sys.argv[1:] = arguments
    # Reading the machine's processes and drawing pages takes most calls and writes no result.
    environment._competing = list
    live_report.render = lambda folder: None  # noqa: ARG005 - its name is part of its type
    seen = 0
    run = sweep.Sweep.run

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self: sweep.Sweep, measure: Any = None) -> Any:
        sys.setprofile(count)
        try:
            return run(self, measure)
        finally:
            sys.setprofile(None)
            tally.write_text(str(seen))

    sweep.Sweep.run = counted  # type: ignore[method-assign]
    try:
        __main__.main()
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else 1)
    finally:
        os._exit(99)


def journalled(folder: Path) -> set[tuple[str, int]]:
    """Return (point folder, worker's process id) of every process that is on disk as whole."""
    found = set()
    for path in folder.glob("outputs/*/points/*/*.parts/[0-9]*.json"):
        record = json.loads(path.read_bytes())["record"]
        found.add((path.parts[-3], record["pid"]))
    return found


def main() -> None:
    base, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    arguments = sys.argv[4:]
    assert compose.conf_folder()
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets
    tally = base / "tally"
    whole = base / "undisturbed"
    whole.mkdir()
    status = controller(whole, arguments, None, tally)
    assert status == 0, tally.with_suffix(".log").read_text()
    events = int(tally.read_text())
    done = 0
    disturbed: list[str] = []
    kept: list[list[tuple[str, int]]] = []
    while done < kills:
        place = base / f"disturbed-{len(disturbed)}"
        place.mkdir()
        disturbed.append(str(place))
        seen: set[tuple[str, int]] = set()
        while True:
            at = draw.randrange(1, events) if done < kills else None
            status = controller(place, arguments, at, tally)
            seen |= journalled(place)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0, tally.with_suffix(".log").read_text()[-2000:]
                break
            done += 1
        kept.append(sorted(seen))
    told = {"undisturbed": str(whole), "disturbed": disturbed, "kept": kept, "kills": done}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
