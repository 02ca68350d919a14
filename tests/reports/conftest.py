"""One browser for all tests of pages, and sweeps that are written and rendered once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

import reports
from tests.reports.browser import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver


Once: TypeAlias = Callable[[Callable[[Path], Path]], Path]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return what gives a maker's result, made when first asked for: only to be read."""
    return cache(lambda maker: maker(tmp_path_factory.mktemp("once") / "sweep"))


@pytest.fixture(scope="session")
def page_of(once: Once) -> Once:
    """Return what gives the page of a sweep's maker."""
    return cache(lambda maker: reports.render(once(maker)))
