"""The tiny model's files, written once for all tests of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.models import synthetic

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the five files of the tiny model; tests must not change it."""
    folder = tmp_path_factory.mktemp("tiny")
    synthetic.write(folder, "tiny", 1234, lambda _: None)
    return folder
