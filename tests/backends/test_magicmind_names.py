"""The backend uses no name of the SDK that is not known to be used with it."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.mlu_names import KEYWORDS, LISTED, NAMES
from tests.backends.small_pipeline import ROOT

if TYPE_CHECKING:
    from pathlib import Path


SDK = ROOT / "backends" / "magicmind" / "sdk.py"
OURS = sorted(SDK.parent.glob("*.py"))
PLAIN = frozenset(
    name
    for kind in (str, bytes, list, dict, tuple, set, int, type, BaseException)
    for name in dir(kind)
)
"""Attributes of Python's own objects."""
OTHER_LIBRARIES = frozenset(
    {
        "PackageNotFoundError",
        "array",
        "ascontiguousarray",
        "c_contiguous",
        "collect",
        "dtype",
        "dumps",
        "flags",
        "get_distribution",
        "import_module",
        "name",
        "python_version",
        "version",
    }
)
"""Of numpy, importlib, platform, json and gc, by the names sdk.py uses."""
REPAIRED = frozenset({"destroy"})
"""Asked for with getattr, should a release mend the spelling of destory."""


def defined(path: Path) -> set[str]:
    """Every name a module gives its own classes, functions and attributes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            found.add(node.attr)
    return found


def asked(source: str, own: set[str]) -> set[str]:
    """The attribute names a module reads, sets or asks for by getattr, less those of Python."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            mine = isinstance(node.value, ast.Name) and node.value.id == "self"
            if not (mine and node.attr in own):
                found.add(node.attr)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"getattr", "hasattr", "setattr"}
            and isinstance(node.args[1], ast.Constant)
        ):
            found.add(str(node.args[1].value))
    return found - PLAIN


def test_sdk_uses_listed_names_only() -> None:
    own = defined(SDK)
    used = asked(SDK.read_text(), own) - OTHER_LIBRARIES - REPAIRED
    assert used - own <= LISTED
    # What the backend cannot do without is really among what was found.
    assert {"enqueue", "from_numpy", "destory", "parse_from_string", "sync"} <= used


def test_a_name_nobody_has_seen_is_caught() -> None:
    source = SDK.read_text() + "\n\ndef timed(queue):\n    return queue.create_notifier()\n"
    assert asked(source, defined(SDK)) - LISTED >= {"create_notifier"}
    assert "get_dtype" in asked("getattr(tensor, 'get_dtype')", set()) - LISTED


def test_modules_and_keywords_are_listed_too() -> None:
    imported, keywords = set(), set()
    for node in ast.walk(ast.parse(SDK.read_text())):
        if isinstance(node, ast.Import):
            imported |= {one.name for one in node.names if one.name.startswith("magicmind")}
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("magicmind"):
            imported.add(str(node.module))
            assert {one.name for one in node.names} <= LISTED
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            known = KEYWORDS.get(node.func.attr, ())
            keywords |= {one.arg for one in node.keywords if one.arg and node.func.attr in KEYWORDS}
            assert all(one.arg in known for one in node.keywords if node.func.attr in KEYWORDS)
    assert imported
    assert imported <= set(NAMES["modules"])
    assert keywords == {"shape", "dtype", "location", "input_by_tensor_order"}


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_no_other_module_touches_an_object_of_the_sdk(path: Path) -> None:
    if path == SDK:
        return
    own = set().union(*(defined(one) for one in OURS)) | set(dir(builtins))
    special = LISTED - own - PLAIN - {"shape", "id", "types", "reset", "next", "ok", "to"}
    assert not asked(path.read_text(), own) & special


@pytest.mark.usefixtures("magicmind_double")
def test_the_double_has_no_name_that_is_not_listed() -> None:
    for module in NAMES["modules"]:
        found = importlib.import_module(module)
        public: list[str] = list(getattr(found, "__all__", ()))
        assert public
        assert set(public) <= LISTED
        for name in public:
            made: Any = getattr(found, name)
            if inspect.isclass(made):
                methods = {one for one in vars(made) if not one.startswith("_")}
                assert methods <= LISTED | {"OK", "INTERNAL"}, made


@pytest.mark.usefixtures("magicmind_double")
def test_the_double_hides_what_the_sdk_hides() -> None:
    runtime = importlib.import_module("magicmind.python.runtime")
    assert not hasattr(runtime, "parser")
    assert not hasattr(runtime, "ILogic")
    assert hasattr(runtime.enums, "ILogic")
    assert hasattr(runtime, "IReduce")
    assert not hasattr(runtime, "get_datatype_by_numpy")
    assert not hasattr(runtime.System, "destroy")
    assert not {"create_notifier", "get_name", "dtype"} & set(dir(runtime.Device))
    importlib.import_module("magicmind.python.runtime.parser")
    assert hasattr(runtime, "parser")
