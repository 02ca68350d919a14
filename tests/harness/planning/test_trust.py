"""What a sweep's folder may decide when it comes from somebody else, or was changed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import files
from harness.config import schema
from harness.config.choices import Allow
from harness.errors import UsageError
from harness.plain_text import quoted
from harness.planning import asked, compose
from harness.records import identity, ledger, result_file, sweep_folder

if TYPE_CHECKING:
    from collections.abc import Callable


FAKE = [
    "backend=fake", "model=tiny", "il=16", "num_iters=4", "measure.min_processes=1",
    "measure.max_processes=1",
]  # fmt: skip
SLOW = ["backend.clock=real", "backend.durations=encoder:100000000", "num_iters=30"]


@dataclasses.dataclass
class User:
    """Somebody at a command line, in a folder and with a ledger of their own."""

    home: Path

    @property
    def python(self) -> Path:
        """An interpreter that leaves a trace when it runs."""
        return self.home / "python"

    @property
    def ran(self) -> bool:
        """Whether the interpreter ran since this was last asked."""
        trace = self.home / "ran"
        was = trace.exists()
        trace.unlink(missing_ok=True)
        return was

    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_STATE_HOME": str(self.home / "state")}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "harness", *words]

    def harness(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), cwd=self.home, env=self.environment(),
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def forget(self) -> None:
        """Lose the ledger: every folder is a stranger's from now on."""
        shutil.rmtree(self.home / "state")

    def sweep(self) -> Path:
        (folder,) = sweep_folder.sweeps(self.home / "outputs")
        return folder


@pytest.fixture
def user(tmp_path: Path) -> User:
    made = User(tmp_path)
    made.python.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec {sys.executable} "$@"\n')
    made.python.chmod(0o755)
    return made


@pytest.fixture
def measured(user: User) -> User:
    """Somebody who measured with an interpreter of their own."""
    done = user.harness(*FAKE, f"backend.python={user.python}")
    assert done.returncode == 0, done.stderr
    assert user.ran
    return user


def refused(done: subprocess.CompletedProcess[str], user: User, *said: str) -> None:
    """Check a refusal: exit status 2, one line that says all of it, nothing was run."""
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("harness: error: ")]
    assert not [one for one in said if one not in line], line
    assert not user.ran
    assert "Traceback" not in done.stderr


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a result file and make its own hash right again, as anybody can."""
    document = json.loads(path.read_bytes())
    change(document)
    document["content_sha256"] = identity.content_hash(document)
    path.write_bytes(files.pretty(document))


def result(folder: Path) -> Path:
    (path,) = folder.glob("points/*/*.json")
    return path


WAYS: dict[str, Callable[[Path], list[str]]] = {
    "baseline": lambda folder: [*FAKE, f"baseline={folder}"],
    "resume": lambda folder: [f"resume={folder}"],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_strangers_interpreter_is_refused_and_named(way: str, measured: User) -> None:
    measured.forget()
    done = measured.harness(*WAYS[way](measured.sweep()), "plan=true")
    refused(
        done, measured, f"{way}=", f'"backend.python={measured.python}"', "allow=python",
        "the same backend.python=",
    )  # fmt: skip
    assert len(sweep_folder.sweeps(measured.home / "outputs")) == 1


@pytest.mark.parametrize("way", WAYS)
def test_an_own_folder_runs_wherever_it_is_moved_to(way: str, measured: User) -> None:
    elsewhere = measured.home / "elsewhere" / "renamed"
    elsewhere.parent.mkdir()
    measured.sweep().rename(elsewhere)
    done = measured.harness(*WAYS[way](elsewhere), "plan=true")
    assert done.returncode == 0, done.stderr
    assert measured.ran


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", ["sweep.json", "result"])
def test_a_byte_more_makes_it_a_strangers(way: str, which: str, measured: User) -> None:
    folder = measured.sweep()
    path = result(folder) if which == "result" else folder / which
    path.write_bytes(path.read_bytes() + b" ")
    done = measured.harness(*WAYS[way](folder))
    refused(done, measured, path.name, "allow=python", str(measured.python))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("answer", ["allow=python", "the same"])
def test_a_stranger_is_believed_when_the_user_says_so(
    way: str, answer: str, measured: User
) -> None:
    measured.forget()
    word = answer if answer.startswith("allow") else f"backend.python={measured.python}"
    done = measured.harness(*WAYS[way](measured.sweep()), word, "plan=true")
    assert done.returncode == 0, done.stderr
    assert measured.ran


def test_another_interpreter_given_now_stands_in_place_of_the_files(measured: User) -> None:
    measured.forget()
    done = measured.harness(
        f"resume={measured.sweep()}", f"backend.python={sys.executable}", "plan=true"
    )
    assert done.returncode == 0, done.stderr
    assert not measured.ran


def test_an_own_command_of_several_words_is_known(user: User) -> None:
    wrapped = f"'env -u NOTHING {user.python}'"
    done = user.harness(*FAKE, f"backend.python={wrapped}")
    assert done.returncode == 0, done.stderr
    assert user.ran
    again = user.harness(f"resume={user.sweep()}", "plan=true")
    assert again.returncode == 0, again.stderr
    assert user.ran
    user.python.write_text(user.python.read_text() + "# exchanged\n")
    refused(user.harness(f"resume={user.sweep()}", "plan=true"), user, "is not what it was")


def test_an_interpreter_exchanged_since_is_refused(measured: User) -> None:
    measured.python.write_text(measured.python.read_text() + "# exchanged\n")
    for words in WAYS.values():
        done = measured.harness(*words(measured.sweep()), "plan=true")
        refused(done, measured, "is not what it was", "allow=python")


def test_a_sweep_killed_at_any_moment_is_still_ones_own(user: User) -> None:
    process = subprocess.Popen(
        user.command("-m", *FAKE, *SLOW, "bs=1,2", f"backend.python={user.python}"),
        cwd=user.home, env=user.environment(), stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("point 2 of 2"):  # the first point's result is there
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = user.sweep()
    assert sweep_folder.facts(folder)["ended"] is None
    assert user.ran
    done = user.harness(f"resume={folder}")
    assert done.returncode == 0, done.stderr
    assert user.ran
    states = sweep_folder.facts(folder)["ended"]["states"]
    assert list(states.values()) == ["ok", "ok"]
    # What the second session wrote is known too.
    assert user.harness(*FAKE, *SLOW, f"baseline={folder}", "plan=true").returncode == 0
    assert user.ran


def test_a_file_is_noted_before_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    notes = ledger.Ledger(tmp_path, [], pytest.fail)

    def killed(*_: object, **__: object) -> None:
        raise InterruptedError

    monkeypatch.setattr("harness.files.write_whole", killed)
    with pytest.raises(InterruptedError):
        result_file.write_sweep(tmp_path, {"a": 1}, notes.note)
    digest = ledger.digest(files.pretty({"a": 1}))
    assert list(ledger.known({digest, "0" * 64})) == [digest]


def test_a_cut_off_line_of_the_ledger_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    notes = ledger.Ledger(tmp_path, [], pytest.fail)
    notes.note(b"first")
    (path,) = ledger.home().iterdir()
    with path.open("ab") as stream:
        stream.write(b'{"sha2')
    ledger.Ledger(tmp_path, [], pytest.fail).note(b"second")
    digests = {ledger.digest(one) for one in (b"first", b"second")}
    assert set(ledger.known(digests)) == digests


def test_a_ledger_that_others_can_write_says_nothing(measured: User) -> None:
    (measured.home / "state" / "harness" / "ledger").chmod(0o777)
    refused(measured.harness(f"resume={measured.sweep()}"), measured, "allow=python")


def test_a_ledger_that_cannot_be_kept_ends_no_sweep_and_is_said_once(user: User) -> None:
    (user.home / "state").write_text("a file where a folder belongs")
    done = user.harness("-m", *FAKE, "bs=1,2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the ledger of your own sweeps cannot be kept") == 1


def test_a_strangers_default_interpreter_is_replaced_by_this_one(user: User) -> None:
    assert user.harness(*FAKE).returncode == 0
    user.forget()
    for words in WAYS.values():
        done = user.harness(*words(user.sweep()), "plan=true")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("word", "allow"),
    [
        ("backend.python=/tmp/evil.sh", "python"),
        ("++backend.python=/tmp/evil.sh", "python"),
        ("backend={name:fake,python:/tmp/evil.sh}", "plugins"),
        ("hydra/launcher=slurm", "launcher"),
        ("hydra.launcher._target_=os.system", "launcher"),
        ("hydra.searchpath=[file:///tmp/evil]", "plugins"),
        ("hydra.callbacks.x._target_=os.system", "plugins"),
        ("hydra.run.dir=/tmp/evil", "plugins"),
        ("--config-dir=/tmp/evil", "plugins"),
        ("--experimental-rerun=/tmp/evil.pickle", "plugins"),
        ("-cd", "plugins"),
        ("+allow=[python]", "plugins"),
        ("log_file=/tmp/evil", "places"),
        ("models_dir=/tmp/evil", "places"),
        ("baseline=/tmp/evil", "places"),
        ("experiment=../../tmp/evil", "plugins"),
        ("backend.build_config=/tmp/evil", "places"),
        ("backend.durations=${oc.env:HOME}", "plugins"),
        ("measure@hydra.launcher=quick", "plugins"),
    ],
)  # fmt: skip
def test_whatever_a_stored_command_runs_or_writes_is_refused(
    word: str, allow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stranger(tmp_path, [*FAKE, word])
    with pytest.raises(UsageError, match=f"allow={allow}") as caught:
        compose.continued([f"resume={tmp_path}", "plan=true"])
    assert quoted(word) in str(caught.value)


def stranger(folder: Path, arguments: Any) -> None:
    facts = {"schema": sweep_folder.SCHEMA, "arguments": arguments, "key": "x"}
    (folder / "sweep.json").write_bytes(files.pretty(facts))


def test_what_only_says_what_is_measured_is_taken(tmp_path: Path) -> None:
    words = [
        *FAKE, "-m", f"backend.python={sys.executable}", "bs=1,2",
        "il=range(8,16,4)", "devices=[0,1]", "experiment=smoke",
        "backend.durations='encoder:1,decoder:2'", "scenario=server", "scenario.rate=0.5",
        "accuracy.force_float16.mel_db=null", "+sigma=0.5", "baseline=v1",
    ]  # fmt: skip
    stranger(tmp_path, [*words, "outputs=/elsewhere", "allow=[python]", "resume=/elsewhere"])
    taken = compose.continued([f"resume={tmp_path}"])
    # Where it goes on is beside the folder; words for one session are not read back.
    assert taken == [*words, f"outputs={tmp_path.parent}", f"resume={tmp_path}"]


@pytest.mark.parametrize("arguments", ["backend=fake", [1, 2], {"a": 1}, None])
def test_arguments_of_another_type_are_no_sweep(arguments: Any, tmp_path: Path) -> None:
    stranger(tmp_path, arguments)
    with pytest.raises(UsageError, match="not a sweep's folder"):
        compose.continued([f"resume={tmp_path}"])


@pytest.mark.parametrize(
    "change",
    [
        {"devices": ["../../tmp/evil"]},
        {"devices": 7},
        {"quant": "../../evil"},
        {"bs": "1; evil"},
        {"model": "../tiny"},
    ],
)
def test_a_strangers_result_that_describes_no_point_is_one_line(
    change: dict[str, Any], user: User
) -> None:
    assert user.harness(*FAKE).returncode == 0
    path = result(user.sweep())
    rewritten(path, lambda document: document["point"]["config"].update(change))
    done = user.harness(*FAKE, f"baseline={user.sweep()}", "plan=true")
    refused(done, user)


def test_a_strangers_models_and_option_paths_are_refused(user: User) -> None:
    assert user.harness(*FAKE).returncode == 0
    path = result(user.sweep())

    def elsewhere(document: dict[str, Any]) -> None:
        document["point"]["config"]["model"] = None
        document["settings"]["requested"]["options"]["durations"] = "/etc/evil"

    rewritten(path, elsewhere)
    done = user.harness(*FAKE, f"baseline={user.sweep()}", "plan=true")
    models = Path(json.loads(path.read_bytes())["models"]["encoder"]["path"]).parent
    refused(done, user, '"backend.durations=/etc/evil"', f'"models_dir={models}"', "allow=places")


def test_a_strangers_words_do_not_become_ones_own(measured: User) -> None:
    """What a taken-up folder says of its interpreter is not in the result we write and note."""
    user = User(measured.home / "second")
    user.home.mkdir()
    process = subprocess.Popen(
        user.command(*FAKE, *SLOW), cwd=user.home, env=user.environment(),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring 0" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    folder = user.sweep()
    user.forget()
    path = result(folder)
    evil = {"options": {"name": "fake", "python": str(measured.python)}}
    rewritten(path, lambda document: document["settings"].update(requested=evil))
    assert user.harness(*FAKE, *SLOW).returncode == 0
    (document,) = result_file.load_sweep(folder).trials
    assert document["supersedes"]
    assert "python" not in document["settings"]["requested"]["options"]


def test_allow_is_a_list_of_known_words(user: User) -> None:
    done = user.harness(*FAKE, "allow=python,everything")
    refused(done, user, "allow=everything", "python, launcher, places, plugins")
    assert user.harness(*FAKE, "allow=python,places", "plan=true").returncode == 0


def test_a_damaged_result_of_a_baseline_is_named(measured: User) -> None:
    path = result(measured.sweep())
    path.write_bytes(path.read_bytes().replace(b'"seed": 1234', b'"seed": 1235'))
    done = measured.harness(*FAKE, f"baseline={measured.sweep()}")
    refused(done, measured, "does not match its content_sha256")


@pytest.mark.parametrize(
    "command", [["report"], ["verify"], ["compare"], ["history"], ["baseline", "save", "v1"]]
)
def test_no_reader_of_a_strangers_folder_runs_anything(
    command: list[str], measured: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(measured.home / "data"))
    measured.forget()
    folder = str(measured.sweep())
    done = measured.harness(*command, folder, *([folder] if command == ["compare"] else []))
    assert done.returncode == 0, done.stderr
    assert not measured.ran


def test_every_key_is_thought_about() -> None:
    """A new key is refused from a stranger until it is listed as data."""
    keys = {one.name for one in dataclasses.fields(schema.Config)}
    assert not keys - asked.DATA_KEYS - asked.PLACE_KEYS - set(schema.SESSION_KEYS)
    assert not (asked.DATA_KEYS | asked.PLACE_KEYS) - keys - {"experiment"}
    kinds = [one.kind for one in asked.of_words(["outputs=x", "newkey=1"])]
    assert kinds == [Allow.places, Allow.plugins]
