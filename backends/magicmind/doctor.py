"""What `doctor backend=magicmind` looks at beside the SDK, and the command that would help."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Dict, Iterator, List

from backends.base import finding
from backends.magicmind import cnmon

FIX_SDK = (
    "doctor backend=magicmind backend.python='docker exec -i CONTAINER python3.7', with a "
    "container of the image magicmind:<version>-x86_64-ubuntu18.04-py_3_7"
)
FIX_CARD = (
    "docker run --device /dev/cambricon_ctl --device /dev/cambricon_dev0 ...; unset "
    "MLU_VISIBLE_DEVICES, or name the card in it"
)
WHEELS = (3, 7)
NODES = "cambricon_dev*"
NEUWARE = "/usr/local/neuware"
DEV = Path("/dev")


def surroundings(number: int) -> List[Dict[str, str]]:
    """Return what is around the SDK: interpreter, numpy, libraries, device nodes, tools."""
    return [*_interpreter(), *_libraries(), *_nodes(), *_tools(number)]


def _interpreter() -> Iterator[Dict[str, str]]:
    seen = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] == WHEELS:
        yield finding("interpreter", "ok", seen)
    else:
        yield finding("interpreter", "warning", f"{seen}; MagicMind's wheels are for 3.7", FIX_SDK)
    try:
        import numpy as np
    except ImportError as error:
        yield finding("numpy", "warning", str(error), f"{sys.executable} -m pip install numpy")
    else:
        yield finding("numpy", "ok", np.__version__)


def _libraries() -> Iterator[Dict[str, str]]:
    home = os.environ.get("NEUWARE_HOME", NEUWARE)
    folder = Path(home) / "lib64"
    if not folder.is_dir():
        fix = "export NEUWARE_HOME=<where the SDK is>"
        yield finding("libraries", "warning", f"{folder} is not there", fix)
        return
    path = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if str(folder) in path:
        yield finding("libraries", "ok", str(folder))
    else:
        yield finding(
            "libraries",
            "warning",
            f"{folder} is not on LD_LIBRARY_PATH",
            f"export LD_LIBRARY_PATH={folder}:{home}/lib/llvm-mm/lib:$LD_LIBRARY_PATH",
        )


def _nodes() -> Iterator[Dict[str, str]]:
    found = sorted(path.name for path in DEV.glob(NODES))
    if found:
        yield finding("device nodes", "ok", ", ".join(found))
    else:
        yield finding("device nodes", "warning", f"no {DEV}/{NODES}", FIX_CARD)


def _tools(number: int) -> Iterator[Dict[str, str]]:
    facts = cnmon.look(number)
    if facts["name"] is None:
        yield finding(
            "cnmon",
            "warning",
            facts["reasons"]["name"],
            "docker run -v /usr/bin/cnmon:/usr/bin/cnmon",
        )
    else:
        seen = f"{facts['name']}, driver {facts['driver']}, firmware {facts['firmware']}"
        yield finding("cnmon", "ok", seen)
        busy = facts["utilisation_pct"]
        if busy:
            yield finding(
                "utilisation", "warning", f"{busy:g} % before anything of ours runs",
                "cnmon shows who uses the card",
            )  # fmt: skip
    tool = shutil.which("mm_run")
    if tool:
        yield finding("mm_run", "ok", tool)
    else:
        yield finding(
            "mm_run", "unknown", "not on PATH; only backend.mm_run=true needs it",
            "export PATH=$NEUWARE_HOME/bin:$PATH",
        )  # fmt: skip
