"""What all tests share: folders of their own, so that no test reads or fills the user's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


DOUBLES = Path(__file__).resolve().parent / "doubles"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one option that writes the golden files anew; look at what it changed."""
    parser.addoption("--rewrite-golden", action="store_true", help="write golden files anew")


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--rewrite-golden"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the user's folders at ones that live as long as the test session."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    # A coloured or wide terminal of whoever runs the tests must not change what is compared.
    patch.setenv("COLUMNS", "200")
    patch.delenv("HYDRA_FULL_ERROR", raising=False)
    yield
    patch.undo()


@pytest.fixture
def magicmind_double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The double of the SDK in its place, here and in the workers that are started.

    Yields the state of this process, reset; workers write their calls to `calls.jsonl`.
    """
    monkeypatch.syspath_prepend(str(DOUBLES))
    monkeypatch.setenv("PYTHONPATH", str(DOUBLES))
    monkeypatch.setenv("MAGICMIND_DOUBLE_LOG", str(tmp_path / "calls.jsonl"))
    monkeypatch.setenv("PATH", str(DOUBLES / "bin"), prepend=":")
    from magicmind_double import state  # noqa: PLC0415 - on the path from here on

    yield state.reset()
    for name in [name for name in sys.modules if name.split(".")[0] == "magicmind"]:
        del sys.modules[name]
