"""The walls of the house: who may import whom, late and type-only imports included."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "backends", "reports")
ORDER = (
    {"__init__"},
    {"errors", "units", "files", "method", "regular"},
    {"naming", "plain_text", "streams"},
    {"config", "models"},
    {"analysis"},
    {"workers", "machine", "records"},
    {"planning", "judging"},
    {"measuring"},
    {"studies"},
    {"commands"},
    {"__main__"},
)
"""The rooms of harness/, low to high: each imports from rooms of lower floors only, or its own."""
FLOORS = 8
"""Most floors of a package, its entry point `__main__` counted as one."""
RUNTIMES = {
    "onnxruntime": "backends/onnxruntime/",
    "openvino": "backends/openvino/",
    "magicmind": "backends/magicmind/",
    "onnx": "backends/graphs/",  # the control side writes it too
}
MEASURED_MAY = {"numpy", "backends", *RUNTIMES}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return every module of the three packages by dotted name."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }


@cache
def named(path: Path) -> set[str]:
    """Return the dotted names a file imports, wherever the import stands in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative imports hide where they go"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imports(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which modules of ours each module imports; what it stands in does not count."""
    return {
        module: {
            name
            for name in named(path)
            if name in known and name != module and not module.startswith(f"{name}.")
        }
        for module, path in known.items()
    }


def room(module: str) -> str:
    """Return the file or folder right below its package that a module stands in."""
    return [*module.split("."), "__init__"][1]


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in named(path)}


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Return the names of a circle of arrows; empty when there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def between_rooms(known: Mapping[str, Path], package: str) -> dict[str, set[str]]:
    """Return which rooms each room of a package imports."""
    arrows: dict[str, set[str]] = {}
    for module, others in imports(known).items():
        if module.split(".")[0] == package:
            arrows.setdefault(room(module), set()).update(
                room(other) for other in others if other.split(".")[0] == package
            )
    return {name: others - {name} for name, others in arrows.items()}


def arrows_back(known: Mapping[str, Path]) -> list[str]:
    """Return the imports of harness/ that do not run down, and those that cross a wall."""
    floor = {name: place for place, names in enumerate(ORDER) for name in names}
    back = []
    for module, others in imports(known).items():
        for other in others:
            sides = module.split(".")[0], other.split(".")[0]
            if sides == ("harness", "harness"):
                crossing = room(module) != room(other)
                wrong = crossing and floor[room(module)] <= floor[room(other)]
            else:
                wrong = sides[0] != sides[1] and sides != ("reports", "harness")
            if wrong:
                back.append(f"{module} imports {other}")
    return back


def floors(arrows: Mapping[str, set[str]]) -> int:
    """Return how many floors rooms stand on: each above all that it imports."""
    height: dict[str, int] = {}
    for name in TopologicalSorter(arrows).static_order():
        height[name] = 1 + max((height[other] for other in arrows.get(name, ())), default=0)
    return max(height.values())


def test_every_room_of_harness_has_a_floor() -> None:
    rooms = {room(name) for name in modules() if name.startswith("harness")}
    assert rooms == set().union(*ORDER)


def test_no_arrow_runs_back() -> None:
    assert arrows_back(modules()) == []


def test_no_modules_import_each_other() -> None:
    assert circle(imports(modules())) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_few_floors_and_no_circle_of_rooms(package: str) -> None:
    arrows = between_rooms(modules(), package)
    assert circle(arrows) == []
    assert floors(arrows) <= FLOORS


@pytest.mark.parametrize(
    ("file", "breach", "said"),
    [
        (
            "harness/units.py",
            "import harness.config.schema",
            "harness.units imports harness.config",
        ),
        (
            "harness/analysis/metrics.py",
            "def late():\n    from harness.commands import measure",
            "harness.analysis.metrics imports harness.commands.measure",
        ),
        (
            "harness/records/journal.py",
            "if TYPE_CHECKING:\n    from harness.planning.planner import Planner",
            "harness.records.journal imports harness.planning.planner",
        ),
        ("harness/commands/verify.py", "import reports", "harness.commands.verify imports reports"),
        ("backends/cache.py", "from harness import units", "backends.cache imports harness.units"),
        (
            "reports/text/plain.py",
            "from backends import cache",
            "reports.text.plain imports backends",
        ),
    ],
)
def test_a_breach_is_seen(tmp_path: Path, file: str, breach: str, said: str) -> None:
    known = modules()
    spoilt = tmp_path / "spoilt.py"
    spoilt.write_text(f"{(ROOT / file).read_text(encoding='utf-8')}\n{breach}\n", encoding="utf-8")
    module = ".".join(Path(file).with_suffix("").parts)
    assert any(line.startswith(said) for line in arrows_back({**known, module: spoilt}))


def test_a_circle_is_seen(tmp_path: Path) -> None:
    known = modules()
    spoilt = tmp_path / "spoilt.py"
    text = (ROOT / "harness/analysis/estimates.py").read_text(encoding="utf-8")
    spoilt.write_text(f"{text}\nfrom harness.analysis import metrics\n", encoding="utf-8")
    assert circle(imports({**known, "harness.analysis.estimates": spoilt}))


def test_the_measured_side_needs_numpy_and_one_runtime() -> None:
    for path in (ROOT / "backends").rglob("*.py"):
        outside = roots(path) - sys.stdlib_module_names - MEASURED_MAY - {"importlib_metadata"}
        if path.name == "testing.py":
            outside.discard("pytest")
        assert not outside, path


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_vendor_is_imported_in_its_own_folder_only(runtime: str) -> None:
    for path in modules().values():
        place = path.relative_to(ROOT).as_posix()
        # The control side writes ONNX files too: it makes the models that are measured.
        free = runtime == "onnx" and place.startswith("harness/")
        if not free and not place.startswith(RUNTIMES[runtime]):
            assert runtime not in roots(path), path
