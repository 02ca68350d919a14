"""Backends on the command line: built-in presets and what workers say of themselves."""

from __future__ import annotations

import pytest
import yaml

from harness.planning import compose, plugins

DESCRIBED = {one["name"]: one for one in plugins.describe()}


@pytest.mark.parametrize("name", ["fake", "onnxruntime"])
def test_a_preset_lists_every_option_of_its_backend_and_no_other(name: str) -> None:
    text = (compose.conf_folder() / "backend" / f"{name}.yaml").read_text()
    preset = set(yaml.safe_load(text)) - {"name", "python"}
    assert preset == {option["name"] for option in DESCRIBED[name]["options"]}


def test_built_in_backends_are_importable_without_their_runtime() -> None:
    assert not [one["error"] for one in DESCRIBED.values() if one["error"]]
