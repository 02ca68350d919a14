from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

import pytest

from backends import registry
from backends.errors import BackendError, OptionError
from backends.fake.backend import FakeBackend

if TYPE_CHECKING:
    from pathlib import Path


BROKEN = registry.Plugin("acme", "no_such_module:Acme", "acme-bench 1.0")
CLASH = registry.Plugin("fake", "json:JSONDecoder", "acme-bench 1.0")
NO_BACKEND = registry.Plugin("odd", "json:JSONDecoder", "odd 2")
GOOD = registry.Plugin("other", "backends.fake.backend:FakeBackend", "other 3")


TOY = types.SimpleNamespace(
    project_name="toy-bench",
    version="1.5",
    get_entry_map=lambda group: {"toy": Point("toy", group)},
)


class Point:
    """An entry point as pkg_resources has it: its text is the line it was declared by."""

    def __init__(self, name: str, group: str) -> None:
        assert group == "harness.backends"
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} = backends.fake.backend:FakeBackend"


def listed(*plugins: registry.Plugin) -> list[registry.Entry]:
    return registry.entries(lambda: list(plugins))


def test_built_in_backend_is_found_without_a_look_at_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(registry, "_declared")
    assert registry.find("fake") is FakeBackend


@pytest.mark.parametrize(
    "absent", [("importlib.metadata",), ("importlib.metadata", "pkg_resources")]
)
def test_interpreter_without_metadata_still_has_the_built_in_backends(
    absent: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*absent, "importlib_metadata"):
        monkeypatch.setitem(sys.modules, name, None)
    if "pkg_resources" not in absent:
        monkeypatch.setitem(sys.modules, "pkg_resources", types.SimpleNamespace(working_set=[TOY]))
    found = {entry.name: entry.origin for entry in registry.entries()}
    assert found["fake"] == found["onnxruntime"] == "built-in"
    assert found.get("toy") == (None if "pkg_resources" in absent else "toy-bench 1.5")


def test_unknown_name_lists_what_exists_and_the_closest() -> None:
    message = "there are: .*, onnxruntime, .*; did you mean 'onnxruntime'"
    with pytest.raises(OptionError, match=message):
        registry.find("onnxruntim", listed())


def test_plugin_is_found_by_name() -> None:
    assert registry.find("other", listed(GOOD)) is FakeBackend


def test_broken_plugin_is_listed_with_its_error_and_hurts_nobody() -> None:
    described = {one["name"]: one for one in registry.describe(listed(BROKEN, GOOD))}
    assert "ModuleNotFoundError: No module named 'no_such_module'" in described["acme"]["error"]
    assert described["acme"]["origin"] == "acme-bench 1.0"
    assert described["fake"]["error"] is None
    assert described["other"]["options"] == described["fake"]["options"]
    with pytest.raises(BackendError, match=r"acme-bench 1\.0"):
        registry.find("acme", listed(BROKEN))


def test_plugin_that_is_no_backend_is_listed_with_its_error() -> None:
    described = {one["name"]: one for one in registry.describe(listed(NO_BACKEND))}
    assert "is no subclass of backends.base.Backend" in described["odd"]["error"]


def test_built_in_backend_wins_over_a_plugin_of_its_name() -> None:
    entries = listed(CLASH)
    assert registry.find("fake", entries) is FakeBackend
    errors = [one["error"] for one in registry.describe(entries) if one["name"] == "fake"]
    assert errors == [None, "hidden: the built-in backend of the name 'fake' is used"]


def test_first_of_two_plugins_of_one_name_wins() -> None:
    twin = registry.Plugin("other", "json:JSONDecoder", "twin 1")
    errors = [one["error"] for one in registry.describe(listed(GOOD, twin))]
    assert errors[-1] == "hidden: the backend of other 3 of the name 'other' is used"


def test_entry_points_of_an_installed_distribution_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "toy_bench-1.5.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-bench\nVersion: 1.5\n")
    (facts / "entry_points.txt").write_text(
        "[harness.backends]\ntoy = backends.fake.backend:FakeBackend\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert registry.Plugin("toy", "backends.fake.backend:FakeBackend", "toy-bench 1.5") in (
        registry.plugins()
    )
    assert registry.find("toy") is FakeBackend


def test_every_option_describes_itself() -> None:
    for described in registry.describe(listed()):
        assert described["error"] is None
        for option in described["options"]:
            assert option["type"] in ("int", "float", "bool", "str")
            assert option["help"]
            assert option["choices"] is None or option["default"] in option["choices"]
