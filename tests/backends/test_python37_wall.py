from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.backends.small_pipeline import ROOT

if TYPE_CHECKING:
    from pathlib import Path


VENDORS = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "magicmind": "magicmind",
    "onnx": "graphs",
}
"""The folder of backends/ that alone imports a vendor's package."""

CONTROL_SIDE = {"harness", "reports", "hydra", "omegaconf", "pandas", "scipy", "rich"}


def imported(source: str) -> set[str]:
    """The top-level names a module imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def vermin(path: Path) -> subprocess.CompletedProcess[str]:
    options = ["--no-tips", "--target=3.7-", "--violations"]
    return subprocess.run(
        [sys.executable, "-c", "import vermin; vermin.main()", *options, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_backends_need_nothing_newer_than_python_3_7() -> None:
    checked = vermin(ROOT / "backends")
    assert checked.returncode == 0, checked.stdout


def test_what_is_newer_than_python_3_7_is_caught(tmp_path: Path) -> None:
    (tmp_path / "newer.py").write_text("if (n := 3) > 2:\n    print(n)\n")
    assert vermin(tmp_path).returncode != 0


def test_backends_import_no_other_side_and_each_vendor_in_its_own_folder() -> None:
    for path in (ROOT / "backends").rglob("*.py"):
        names = imported(path.read_text(encoding="utf-8"))
        assert not names & CONTROL_SIDE, path
        for vendor, home in VENDORS.items():
            assert vendor not in names or path.parent.name == home, path
