"""Throw-away clusters on this one machine: Slurm with fake nodes, and Ray with fake devices."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
UP_S = 60.0
# Without an accounting database sacct answers nothing; this one asks the controller.
SACCT = """\
#!/bin/sh
echo 'JobID|State|NodeList'
while [ $# -gt 0 ]; do
  if [ "$1" = -j ]; then
    scontrol -o show job "$2" 2>/dev/null | awk '{
      split("", f)
      for (i = 1; i <= NF; i++) {
        p = index($i, "="); k = substr($i, 1, p - 1)
        if (p && !(k in f)) f[k] = substr($i, p + 1)
      }
      id = f["JobId"]
      if ("ArrayJobId" in f) {
        t = f["ArrayTaskId"]; id = f["ArrayJobId"] "_" (t ~ /[-,%]/ ? "[" t "]" : t)
      }
      print id "|" f["JobState"] "|" f["NodeList"]
    }'
    shift
  fi
  shift
done
"""


def slurm_is_here() -> bool:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return all(shutil.which(one, path=path) for one in DAEMONS)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _configure(folder: Path, nodes: int) -> None:
    import getpass  # noqa: PLC0415 - only here

    host = socket.gethostname().partition(".")[0]
    address = socket.gethostbyname(host)
    control, *ports = free_ports(nodes + 1)
    user = getpass.getuser()
    lines = {
        "ClusterName": "local", "SlurmctldHost": f"{host}({address})", "SlurmctldPort": control,
        "SlurmUser": user, "SlurmdUser": user, "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge.socket", "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool-%n", "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd-%n.pid", "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": folder / "slurmd-%n.log", "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none", "MpiDefault": "none", "ReturnToService": 2, "KillWait": 2,
        "MinJobAge": 86400, "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_Core",
        "SchedulerParameters": "sched_interval=1,bf_interval=1,batch_sched_delay=0",
        "GresTypes": "mlu",
    }  # fmt: skip
    text = [f"{key}={value}" for key, value in lines.items()]
    text += [
        f"NodeName=n{number} NodeHostname={host} NodeAddr={address} Port={port} CPUs=1 Gres=mlu:1"
        for number, port in enumerate(ports, 1)
    ]
    text.append("PartitionName=bench Nodes=ALL Default=YES MaxTime=INFINITE State=UP")
    (folder / "slurm.conf").write_text("\n".join(text) + "\n")
    gres = [f"NodeName=n{number} Name=mlu Count=1" for number in range(1, nodes + 1)]
    (folder / "gres.conf").write_text("\n".join(gres) + "\n")
    for name in ("state", *(f"spool-n{number}" for number in range(1, nodes + 1))):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    (folder / "bin").mkdir()
    (folder / "bin" / "sacct").write_text(SACCT)
    (folder / "bin" / "sacct").chmod(0o755)


@contextlib.contextmanager
def slurm(folder: Path, nodes: int) -> Iterator[dict[str, str]]:
    """Run a Slurm of nodes n1..nN, one device `mlu` each; yield what its clients need to know."""
    folder.chmod(0o755)
    _configure(folder, nodes)
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"], "/usr/sbin", "/sbin"])
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    munge = [f"--{one}={folder}/munge.{two}" for one, two in
             (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"),
              ("log-file", "log"), ("seed-file", "seed"))]  # fmt: skip
    commands: list[Sequence[str]] = [["munged", "--foreground", *munge]]
    commands.append(["slurmctld", "-D", "-f", str(folder / "slurm.conf")])
    commands += [
        ["slurmd", "-D", "-f", str(folder / "slurm.conf"), "-N", f"n{number}"]
        for number in range(1, nodes + 1)
    ]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (folder / f"{command[0]}-{len(running)}.out").open("wb") as out:
                running.append(
                    subprocess.Popen(
                        command, env=environment, stdout=out, stderr=out, start_new_session=True
                    )
                )
            if command[0] == "munged":
                _until((folder / "munge.socket").exists, "munged")
        _until(lambda: _idle(environment) == nodes, "the nodes")
        yield environment
    finally:
        for process in reversed(running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _idle(environment: dict[str, str]) -> int:
    said = subprocess.run(
        ["sinfo", "-h", "-N", "-t", "idle", "-o", "%N"],
        env=environment, capture_output=True, text=True, check=False, timeout=30,
    ).stdout  # fmt: skip
    return len(set(said.split()))


def _until(ready: Callable[[], object], what: str) -> None:
    end = time.monotonic() + UP_S
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not come up within {UP_S:g} s")
        time.sleep(0.2)


@contextlib.contextmanager
def ray(folder: Path, devices: int) -> Iterator[dict[str, str]]:
    """Run a Ray of one node with so many devices `mlu`; yield the environment of its clients."""
    (port,) = free_ports(1)
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder),
    }
    command = [sys.executable, "-m", "ray.scripts.scripts"]
    start = [
        "start", "--head", f"--port={port}", "--num-cpus=4", "--include-dashboard=false",
        f'--resources={{"mlu": {devices}}}', "--block", "--node-ip-address=127.0.0.1",
        "--object-store-memory=100000000",
    ]  # fmt: skip
    with (folder / "ray.out").open("wb") as out:
        head = subprocess.Popen(
            [*command, *start],
            env=environment, stdout=out, stderr=out, cwd=folder, start_new_session=True,
        )  # fmt: skip
    try:
        log = folder / "ray.out"
        _until(lambda: "Ray runtime started" in log.read_text(errors="replace"), "Ray")
        yield {**environment, "RAY_TEST_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()
