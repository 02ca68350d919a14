"""The control end of the worker protocol, against real processes."""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.errors import UsageError, WorkerCrashError, WorkerError, WorkerTimeoutError
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path


GREETING = (
    '{"hello": "backends.worker", "protocol": 1, "python": "3.7.0", '
    '"implementation": "CPython", "pid": 1}'
)


def script(body: str) -> str:
    """Return an interpreter prefix that runs `body` in place of a worker."""
    return shlex.join([sys.executable, "-c", f"import os, sys, time\n{body}"])


def greeted(body: str) -> str:
    return script(f"print({GREETING!r}, flush=True)\nsys.stdin.readline()\n{body}")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_greets_answers_and_leaves() -> None:
    with WorkerProcess() as worker:
        assert worker.greeting["protocol"] == 1
        probe = worker.ask("probe", 30, backend="fake", options={}, device="0")
        assert probe["available"]
    assert gone(worker.pid)


def test_packages_of_the_working_folder_do_not_hide_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with WorkerProcess() as worker:
        assert worker.ask("describe", 30)["backends"]


def test_a_wrong_option_is_the_users_mistake() -> None:
    with WorkerProcess() as worker, pytest.raises(UsageError, match="nonsense"):
        worker.ask("probe", 30, backend="fake", options={"nonsense": 1}, device="0")


def test_an_error_leaves_the_worker_usable() -> None:
    with WorkerProcess() as worker:
        with pytest.raises(WorkerError) as caught:
            worker.ask("run", 30, inputs={}, count=1, start=0)
        assert caught.value.kind == "protocol"
        assert worker.ask("probe", 30, backend="fake", options={}, device="0")["available"]


def test_an_interpreter_that_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="cannot be started"):
        WorkerProcess("/no/such/python")


def test_another_protocol_version_is_refused() -> None:
    with pytest.raises(UsageError, match="speaks protocol 99"):
        WorkerProcess(script(f"print({GREETING.replace('1,', '99,', 1)!r}, flush=True)"))


def test_a_hung_worker_is_killed_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "child"
    hang = (
        "child = os.fork()\n"
        f"if child: open({str(pid_file)!r}, 'w').write(str(child))\n"
        "time.sleep(600)"
    )
    worker = WorkerProcess(greeted(hang))
    with pytest.raises(WorkerTimeoutError, match=r"no answer within 0\.5 s"):
        worker.ask("load", 0.5)
    assert gone(worker.pid)
    child = int(pid_file.read_text())
    # A busy kernel takes its time; the orphan is reaped by init, until when it is a zombie.
    for _ in range(100):
        if gone(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the child of a killed worker still runs")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.kill(os.getpid(), 11)", "signal SIGSEGV"),
        ("sys.exit(3)", "exit status 3"),
        ("print('out of memory', file=sys.stderr); os._exit(1)", "out of memory"),
    ],
)
def test_a_worker_that_dies_is_named_with_its_last_words(
    body: str, said: str, tmp_path: Path
) -> None:
    worker = WorkerProcess(greeted(body), log=tmp_path / "log")
    with pytest.raises(WorkerCrashError, match=said):
        worker.ask("load", 30)


@pytest.mark.parametrize(
    "line", ["hello from the SDK", "[1, 2]", '{"id": 7, "ok": true, "result": {}}']
)
def test_garbage_where_an_answer_is_due_ends_the_worker(line: str) -> None:
    worker = WorkerProcess(greeted(f"print({line!r}, flush=True); time.sleep(60)"))
    with pytest.raises(WorkerError) as caught:
        worker.ask("load", 30)
    assert caught.value.kind == "protocol"
    assert gone(worker.pid)


def test_a_greeting_that_is_none_ends_the_worker() -> None:
    with pytest.raises(WorkerError, match="Python 2"):
        WorkerProcess(script("print('Python 2.7', flush=True); time.sleep(60)"))
