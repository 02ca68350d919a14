"""Puts the double in the SDK's place, in this process and in the workers it starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parent


@pytest.fixture
def magicmind_double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The double's state, reset; workers that are started write their calls to `calls.jsonl`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    monkeypatch.setenv("MAGICMIND_DOUBLE_LOG", str(tmp_path / "calls.jsonl"))
    monkeypatch.setenv("PATH", str(FOLDER / "bin"), prepend=":")
    from magicmind_double import state  # noqa: PLC0415 - on the path from here on

    yield state.reset()
    for name in [name for name in sys.modules if name.split(".")[0] == "magicmind"]:
        del sys.modules[name]
