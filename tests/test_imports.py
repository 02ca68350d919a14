"""The wall between the two sides, and the layers inside the control side."""

from __future__ import annotations

import ast
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    {"errors", "files", "naming", "regular", "uses", "units", "precision", "rules", "signature"},
    {"names", "streams"},
    {"asked", "ledger"},
    {"models", "statistics", "series", "config", "folder", "load", "peaks"},
    {"bounds", "devices", "energy"},
    {"accuracy", "metrics", "steady", "outliers", "comparison", "stopping"},
    {"compat", "environment"},
    {"fitness"},
    {"advice"},
    {"modes"},
    {"results", "remarks", "pairing"},
    {"summary"},
    {"compare", "cooling", "doctor", "exclusive", "journal", "verify"},
    {"overrides", "point"},
    {"worker", "store", "export", "fetch"},
    {"extensions", "telemetry", "trust"},
    {"measure"},
    {"plan"},
    {"reference", "wav"},
    {"trial", "together"},
    {"resume"},
    {"forecast", "clean", "history"},
    {"console"},
    {"interrupt"},
    {"sweep", "baselines"},
    {"roofline", "selfcheck", "slo"},
    {"compose", "fleet"},
    {"cli", "commands"},
    {"__main__"},
)
"""Modules of harness/, low to high: each imports from lower layers only."""
RUNTIMES = {
    "onnxruntime": "backends/onnxruntime.py",
    "openvino": "backends/openvino.py",
    "magicmind": "backends/magicmind/sdk.py",
    "onnx": "backends/graphs.py",  # onnxruntime's own format, which the control side writes too
}
MEASURED_MAY = {"numpy", "backends", *RUNTIMES}


def imports(path: Path) -> set[str]:
    """Return the dotted names a file imports, types included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_neither_side_imports_the_other() -> None:
    for path in [*files("harness"), *files("reports")]:
        assert "backends" not in roots(path), path
    for path in files("backends"):
        assert not roots(path) & {"harness", "reports"}, path


def test_the_measured_side_needs_numpy_and_one_runtime() -> None:
    for path in files("backends"):
        outside = roots(path) - sys.stdlib_module_names - MEASURED_MAY - {"importlib_metadata"}
        if path.name == "testing.py":
            outside.discard("pytest")
        assert not outside, path


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_vendor_is_imported_in_its_own_file_only(runtime: str) -> None:
    for path in files("backends"):
        if path.relative_to(ROOT).as_posix() != RUNTIMES[runtime]:
            assert runtime not in roots(path), path
    for path in files("harness") if runtime != "onnx" else ():
        assert runtime not in roots(path), path


def test_harness_knows_reports_only_where_it_shows_them() -> None:
    using = [
        path.relative_to(ROOT / "harness") for path in files("harness") if "reports" in roots(path)
    ]
    assert all(path.parts[0] in {"cli.py", "commands"} for path in using), using


def rank(module: str) -> int:
    return next(place for place, layer in enumerate(LAYERS) if module in layer)


def test_every_module_has_a_layer() -> None:
    named = set().union(*LAYERS)
    modules = {path.stem for path in (ROOT / "harness").glob("*.py")} - {"__init__"}
    assert modules <= named
    assert all(not lower & upper for lower, upper in pairwise(LAYERS))


def runtime_imports(path: Path) -> set[str]:
    """Return what is imported when the module is: not for types, not inside a function."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "harness").glob("*.py")), ids=lambda p: p.stem)
def test_no_arrow_runs_back(path: Path) -> None:
    if path.stem == "__init__":
        return
    for name in runtime_imports(path):
        parts = name.split(".")
        if parts[0] != "harness" or len(parts) == 1 or parts[1] == "__version__":
            continue
        assert rank(parts[1]) < rank(path.stem), f"{path.stem} imports {name}"


def test_models_stand_below_everything_but_errors() -> None:
    for path in files("harness/models"):
        inside = {name for name in imports(path) if name.startswith("harness.")}
        allowed = ("harness.models", "harness.errors", "harness.units")
        assert all(name.startswith(allowed) for name in inside), path
