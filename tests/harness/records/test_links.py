"""Links and special files where our own files belong: never followed, never waited for."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from harness import commands, files, regular
from harness.commands import clean
from harness.errors import ExitStatus, ResultFileError, UsageError
from harness.judging import verify
from harness.plain_text import file_name, hydra_value, plain, quoted
from harness.planning import resume
from harness.records import identity, ledger, result_file, sweep_folder
from harness.workers import device_lock
from tests.harness.commands.test_measure import FAKE, harness
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]


ONCE = [*FAKE, "num_iters=4", "measure.min_processes=1", "measure.max_processes=1"]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


def hard_link(path: Path) -> None:
    path.hardlink_to(path.parent.parent / "victim")


def folder(path: Path) -> None:
    path.mkdir()


WRONG = {"link": link, "fifo": fifo, "hard link": hard_link, "folder": folder}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("not ours")
    return path


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """Leave a sweep that asks for nothing but to be continued."""
    assert harness(*ONCE, cwd=tmp_path).returncode == 0
    (place,) = sweep_folder.sweeps(tmp_path / "outputs")
    result_file.write_sweep(place, {**sweep_folder.facts(place), "ended": None})
    return place


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_lock_that_is_no_file_is_refused_and_what_it_leads_to_stays(
    wrong: Callable[[Path], None], victim: Path, tmp_path: Path
) -> None:
    place = tmp_path / "sweep"
    place.mkdir()
    wrong(place / sweep_folder.LOCK_FILE)
    with pytest.raises(sweep_folder.LockFileError, match=r"\.lock is a .*; delete it"):
        sweep_folder.Lock(place).__enter__()
    assert not sweep_folder.is_held(place)
    assert victim.read_text() == "not ours"


def test_a_linked_lock_from_outside(unfinished: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("not ours")
    (unfinished / ".lock").symlink_to(victim)
    done = harness(f"resume={unfinished}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{unfinished}/.lock is a link" in done.stderr.splitlines()[-1]
    again = harness(*ONCE, cwd=tmp_path)  # the same command measures into another folder, and says
    assert again.returncode == 0, again.stderr
    assert "/.lock is a link" in again.stderr
    assert len(sweep_folder.sweeps(tmp_path / "outputs")) == 2
    assert victim.read_text() == "not ours"


def test_a_lock_of_another_user_ends_no_process_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[object] = []
    monkeypatch.setattr(sweep_folder, "_end", ended.append)
    for owner, count in ((os.geteuid() + 1, 0), (os.geteuid(), 1)):
        with sweep_folder.Lock(tmp_path) as lock:
            text = (tmp_path / ".lock").read_bytes()
            lock.worker(os.getpid())
        (tmp_path / ".lock").write_bytes(text)
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda owner=owner: owner)
            with sweep_folder.Lock(tmp_path):
                assert len(ended) == count


@pytest.mark.parametrize("where", ["logs", "points/x", "points/x/worker.log"])
def test_a_folder_with_a_link_inside_is_not_written_into(
    where: str, unfinished: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = unfinished / where
    path.parent.mkdir(exist_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    path.symlink_to(outside)
    facts = sweep_folder.facts(unfinished)
    with pytest.raises(UsageError, match="is a link or no regular file"):
        resume.named(unfinished, resume.SweepRequest(str(facts["key"]), facts["conditions"]))
    assert not list(outside.iterdir())


# --- devices ---------------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "shared"
    place.mkdir()
    monkeypatch.setattr("harness.workers.device_lock.tempfile.gettempdir", lambda: str(place))
    return place / device_lock.FOLDER


@pytest.mark.parametrize("wrong", [link, fifo, folder])
def test_a_device_lock_that_is_no_file_hangs_nobody(
    wrong: Callable[[Path], None], shared: Path, victim: Path
) -> None:
    shared.mkdir()
    wrong(shared / "mlu-0")
    with (
        pytest.raises(UsageError, match=r"mlu-0: no device can be held there .*; delete it"),
        device_lock.hold(["mlu-0"], pytest.fail, lambda: False),
    ):
        pass
    assert victim.read_text() == "not ours"


def test_a_dangling_device_lock_makes_no_file(shared: Path, tmp_path: Path) -> None:
    shared.mkdir()
    (shared / "mlu-0").symlink_to(tmp_path / "made")
    with pytest.raises(UsageError, match="is a link"):
        device_lock.check(["mlu-0"])
    assert not (tmp_path / "made").exists()


def test_a_linked_or_foreign_folder_of_devices_is_refused(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shared.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link, not a folder"):
        device_lock.check(["mlu-0"])
    assert not list((tmp_path / "elsewhere").iterdir())
    shared.unlink()
    device_lock.check(["mlu-0"])
    assert shared.stat().st_mode & 0o7777 == 0o1777
    if os.geteuid() == 0:
        os.chown(shared, 12345, -1)
        device_lock.check(["mlu-0"])  # sticky: its owner cannot be followed anywhere
        shared.chmod(0o777)
        with pytest.raises(UsageError, match="belongs to user 12345 and is not sticky"):
            device_lock.check(["mlu-0"])


def test_a_fifo_among_devices_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / device_lock.FOLDER).mkdir()
    os.mkfifo(tmp_path / device_lock.FOLDER / "fake-0")
    done = harness(*ONCE, "backend.clock=real", cwd=tmp_path)
    assert done.returncode == 2
    assert "fake-0: no device can be held there (is a FIFO)" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "outputs").exists()


# --- readers ---------------------------------------------------------------------------------


def test_special_files_hang_no_reader(tmp_path: Path) -> None:
    place = write_sweep(tmp_path / "sweep", [make_trial([make_process([75 * MS] * 20)])])
    (path,) = verify.files(place)
    os.mkfifo(path.parent / "other.json")
    found = result_file.load_sweep(place)
    assert len(found.trials) == 1
    assert "is a FIFO" in found.problems[0]
    assert "is a FIFO" in verify.problems(path.parent / "other.json")[0]
    (place / "sweep.json").unlink(missing_ok=True)
    os.mkfifo(place / "sweep.json")
    assert not sweep_folder.facts(place)
    assert len(result_file.load_sweep(place).trials) == 1


def test_a_linked_result_is_read(tmp_path: Path) -> None:
    """Results kept elsewhere and linked, as git-annex does, are data like others."""
    place = write_sweep(tmp_path / "sweep", [make_trial([make_process([75 * MS] * 20)])])
    (path,) = verify.files(place)
    path.rename(tmp_path / "kept.json")
    path.symlink_to(tmp_path / "kept.json")
    assert len(result_file.load_sweep(place).trials) == 1


# --- clean -----------------------------------------------------------------------------------


def old(path: Path) -> Path:
    """Make a sweep that was last written long ago."""
    write_sweep(path, [make_trial([make_process([75 * MS] * 20)])])
    result_file.write_sweep(path, {"schema": sweep_folder.SCHEMA})
    for one in [*path.rglob("*"), path]:
        os.utime(one, (1e9, 1e9))
    return path


CLEAN = ["what=sweeps", "older=30d", "apply=true"]


def test_clean_removes_nothing_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    kept, other = old(tmp_path / "kept"), tmp_path / "no sweep"
    other.mkdir()
    gone = old(tmp_path / "outputs" / "gone")
    for target in (kept, other):
        (tmp_path / "outputs" / f"link to {target.name}").symlink_to(target)
    assert commands.run("clean", CLEAN) is ExitStatus.FINE
    said = capsys.readouterr().out
    assert said.count("skipped: ") == 2
    assert f"skipped: outputs/link to kept is a link to {kept}" in said
    assert "1 with" in said
    assert not gone.exists()
    assert (kept / "sweep.json").exists()
    assert (tmp_path / "outputs" / "link to kept").is_symlink()
    (tmp_path / "linked").symlink_to(tmp_path / "kept" / "..")
    assert commands.run("clean", [*CLEAN, "outputs=linked"]) is ExitStatus.FINE
    assert "skipped: linked is a link" in capsys.readouterr().out
    assert (kept / "sweep.json").exists()


def test_clean_passes_a_sweep_whose_lock_is_a_link_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    places = [old(tmp_path / "outputs" / name) for name in ("a", "b", "c")]
    victim = tmp_path / "victim"
    victim.write_text("not ours")
    (places[1] / ".lock").symlink_to(victim)
    os.utime(places[1], (1e9, 1e9))
    os.utime(places[1] / ".lock", (1e9, 1e9), follow_symlinks=False)
    assert commands.run("clean", CLEAN) is ExitStatus.FINE
    said = capsys.readouterr().out
    assert "skipped: outputs/b/.lock is a link" in said
    assert [one.exists() for one in places] == [False, True, False]
    assert victim.read_text() == "not ours"


def test_clean_of_the_cache_follows_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "cache" / "harness"
    target = tmp_path / "elsewhere" / "model"
    target.mkdir(parents=True)
    (root / "models").mkdir(parents=True)
    (root / "models" / "entry").symlink_to(target)
    (root / "forms").symlink_to(target.parent)
    assert not clean.caches()
    assert commands.run("clean", ["what=cache", "above=0", "apply=true"]) is ExitStatus.FINE
    assert capsys.readouterr().out.count("skipped: ") == 2
    assert target.is_dir()
    assert (root / "models" / "entry").is_symlink()


# --- names -----------------------------------------------------------------------------------

BAD_NAMES: list[Any] = [
    "", ".", "..", "a/b", "/a", "-rf", "a\0b", "a\nb", "a\x1b[31m", "a\\b", "x" * 256, None, 7,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_cannot_be_a_files_name_is_refused_in_one_line(name: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be a file's name") as caught:
        file_name(name, "trial_id")
    assert str(caught.value).isprintable()
    trial = make_trial([make_process([75 * MS] * 20)])
    trial["trial_id"] = name
    trial["content_sha256"] = identity.content_hash(trial)
    path = tmp_path / "file.json"
    path.write_bytes(files.pretty(trial))
    with pytest.raises(ResultFileError, match="trial_id"):
        result_file.load_trial(path)


def test_the_names_we_give_pass() -> None:
    names = ("force_float16_4_128_log_perf", identity.new_trial_id(), "fake-bs1-il16+7", "Größe 1")
    for name in names:
        assert file_name(name, "x") == name


@pytest.mark.parametrize("key", ["quant", "bs", "il"])
def test_a_log_is_not_written_where_a_result_says(key: str) -> None:
    from harness.judging import compat_log  # noqa: PLC0415 - only here

    trial = make_trial([])
    trial["point"]["config"][key] = "../../evil"
    with pytest.raises(UsageError, match="log"):
        compat_log.log_name(trial)


def test_quoted_text_is_one_line_that_hides_nothing() -> None:
    assert quoted("a\n\x1b[2Kb\u202e") == '"a \N{REPLACEMENT CHARACTER}[2Kb"'
    assert quoted("x" * 1000).endswith("1000 characters")
    assert plain("ok") == "ok"


@pytest.mark.parametrize(
    "value",
    ["a,b", "a'b", "a\\'b", "a\\", "${oc.env:HOME}", "$5", "", "null", "True", "007", "a=b", "[a]",
     "{a:1}", "/a/b-c", "a b", "\\${x}", 3, 1.5, True, None],
)  # fmt: skip
def test_a_value_quoted_for_hydra_is_read_back_as_it_was(value: Any) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415

    override = OverridesParser.create().parse_override(f"k={hydra_value(value)}")
    read = override.value()
    assert OmegaConf.create({"k": getattr(read, "text", read)}).k == value


def test_the_ledger_is_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ledger.home().parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    ledger.home().symlink_to(tmp_path / "elsewhere")
    said: list[str] = []
    ledger.Ledger(tmp_path, [], said.append).note(b"x")
    assert "is a link" in said[0]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_tree_of_files_and_folders_has_nothing_strange(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("")
    assert regular.first_strange(tmp_path) is None
    (tmp_path / "a" / "b" / "link").symlink_to("file")
    assert regular.first_strange(tmp_path) == tmp_path / "a" / "b" / "link"
    assert regular.first_strange(tmp_path, but="b") == tmp_path / "a" / "b" / "link"
    assert regular.first_strange(tmp_path, but="a") is None
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    assert regular.first_strange(tmp_path, but="linked") == tmp_path / "linked"
