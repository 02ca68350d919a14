"""Every command says what it takes, takes what it says, and refuses the rest in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import reports
from harness.commands.described import COMMANDS
from harness.commands.options import COMMON
from harness.config import choices
from harness.config import download as config_download
from harness.errors import ExitStatus, UsageError
from harness.models import sizes
from harness.models.tacotron2 import MAX_FRAMES
from reports.exports import comparison, history, points

if TYPE_CHECKING:
    from pathlib import Path

    from harness.commands.options import Command, Key


BY_NAME = {command.name: command for command in COMMANDS}
EVERY = pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
HEAVY = ("numpy", "pandas", "matplotlib", "scipy", "hydra", "omegaconf", "jinja2", "onnx")


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def key(command: str, name: str) -> Key:
    return next(one for one in BY_NAME[command].keys if one.name == name)


def test_the_commands_are_in_order_and_each_is_there_once() -> None:
    assert list(BY_NAME) == sorted(one.name for one in COMMANDS)


@pytest.mark.parametrize("word", ["--help", "-h"])
@EVERY
def test_every_command_answers_help(command: Command, word: str, tmp_path: Path) -> None:
    done = harness(command.name, word, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"usage: python -m harness {command.name}")
    assert max(map(len, lines)) <= 100
    for one in command.keys:
        (line,) = (line for line in lines if line.startswith(f"  {one.name}="))
        assert len(line.split(maxsplit=1)[1]) > 8, "a key without its meaning"
        assert all(choice in done.stdout for choice in one.choices)
    statuses = re.findall(r"^  (\d+) +\S", done.stdout.partition("Exit status:")[2], re.MULTILINE)
    assert {int(one) for one in statuses} == {
        int(one) for one in {*COMMON, *dict(command.statuses)}
    }
    assert not list(tmp_path.iterdir())


@EVERY
def test_help_wins_over_whatever_else_is_said(command: Command, tmp_path: Path) -> None:
    done = harness(command.name, "wibble=1", "nowhere", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == command.help()


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], ["bs=4", "-h"]])
def test_the_page_of_the_whole_names_every_command_and_status(
    words: list[str], tmp_path: Path
) -> None:
    done = harness(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert f"\n  {command.usage}" in done.stdout
    for status in ExitStatus:
        assert f"{int(status)}  {status.meaning}\n" in done.stdout


def test_help_and_a_command_is_the_commands_help(tmp_path: Path) -> None:
    assert harness("help", "compare", cwd=tmp_path).stdout == BY_NAME["compare"].help()
    done = harness("help", "wibble", cwd=tmp_path)
    assert done.returncode == 2
    assert "commands: backends, baseline, " in done.stderr


def test_help_of_a_command_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['harness', 'compare', '--help']\n"
        "from harness import __main__\n"
        "try:\n    __main__.main()\nexcept SystemExit as left:\n    assert not left.code\n"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"


@EVERY
def test_an_unknown_key_is_refused_with_the_known_ones(command: Command) -> None:
    words = ["x"] * sum(word.least for word in command.words)
    if command.others:
        assert command.read([*words, "wibble=1"]).others == ("wibble=1",)
        return
    with pytest.raises(UsageError, match=rf"^{command.name}: unknown key 'wibble'") as caught:
        command.read([*words, "wibble=1"])
    assert "\n" not in str(caught.value)
    for one in command.keys:
        assert one.name in str(caught.value)
    with pytest.raises(UsageError, match=rf"^{command.name}: unknown option --wibble.*--help"):
        command.read([*words, "--wibble"])


@EVERY
def test_every_choice_that_is_named_is_taken_and_no_other(command: Command) -> None:
    words = ["x"] * sum(word.least for word in command.words)
    asked = command.read(words)
    for one in command.keys:
        assert asked.keys.get(one.name, "") == one.given
        for choice in one.choices:
            assert command.read([*words, f"{one.name}={choice}"]).keys[one.name] == choice
        if one.choices:
            with pytest.raises(UsageError, match=f"possible: {re.escape(one.choices[0])}"):
                command.read([*words, f"{one.name}=wibble"])


@EVERY
def test_too_few_and_too_many_words_are_refused(command: Command) -> None:
    least = sum(word.least for word in command.words)
    if least:
        with pytest.raises(UsageError, match=r"needs .* found"):
            command.read([])
    if command.words and all(word.most for word in command.words):
        with pytest.raises(UsageError, match=r"needs .* found"):
            command.read(["x"] * (1 + sum(word.most or 0 for word in command.words)))


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "a", "b", "format=csv", "format=json"],
        ["compare", "a", "b", "format=text", "format=json"],
        ["clean", "older=1d", "older=2d"],
        ["slo", "slo_ms=1", "slo_ms=2"],
    ],
)
def test_a_key_with_two_values_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        BY_NAME[words[0]].read(words[1:])


def test_what_one_key_may_be_given_twice() -> None:
    asked = BY_NAME["export"].read(["checkpoint=a", "checkpoint=b,c"])
    assert asked.keys["checkpoint"] == "a,b,c"


def test_a_flag_takes_its_value_in_both_spellings() -> None:
    for words in (["--python", "p3"], ["--python=p3"]):
        assert BY_NAME["backends"].read(words).flags == {"--python": "p3"}
    for words in (["--python"], ["--python="]):
        with pytest.raises(UsageError, match="write --python PYTHON"):
            BY_NAME["backends"].read(words)
    with pytest.raises(UsageError, match="write --open"):
        BY_NAME["report"].read(["x", "--open=yes"])


def test_a_path_may_hold_an_equals_sign() -> None:
    assert BY_NAME["verify"].read(["./bs=4"]).words == ("./bs=4",)


def test_the_descriptions_say_what_the_code_has() -> None:
    assert set(key("compare", "format").choices) == set(comparison.FORMATS)
    assert set(key("history", "format").choices) == set(history.FORMATS)
    assert set(key("report", "format").choices) == {*reports.FILES, "all"}
    assert set(reports.FILES) == {*points.FORMATS, "html"}
    assert key("export", "dropout").choices == tuple(one.value for one in choices.Dropout)
    assert all(sizes.named(one) for one in key("export", "model").choices)
    assert key("export", "max_steps").default == str(MAX_FRAMES)
    own = {one.name for one in BY_NAME["fetch"].keys} - {"models_dir", "file"}
    fields = config_download.Fetch.__dataclass_fields__
    assert {name.partition(".")[0] for name in own} == set(fields)
    download = set(config_download.Download.__dataclass_fields__)
    assert {name.partition(".")[2] for name in own if "." in name} == download
