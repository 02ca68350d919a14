"""What all tests share: a cache of their own, so that no test reads or fills the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doubles.fixtures import magicmind_double

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the user's cache folder at one that lives as long as the test session."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    # A coloured or wide terminal of whoever runs the tests must not change what is compared.
    patch.setenv("COLUMNS", "200")
    patch.delenv("HYDRA_FULL_ERROR", raising=False)
    yield
    patch.undo()
