"""The page in a real browser: it opens from a file, complains about nothing, and its tools work."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import reports
from tests.reports import sweeps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed"
    ),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def table(browser: webdriver.Chrome, tmp_path: Path) -> webdriver.Chrome:
    browser.get(reports.render(sweeps.seed_table(tmp_path / "sweep")).as_uri())
    return browser


def shown(driver: webdriver.Chrome) -> list[str]:
    rows = driver.find_elements(By.CSS_SELECTOR, "#points-table tbody tr")
    return [row.find_element(By.TAG_NAME, "th").text for row in rows if row.is_displayed()]


def complaints(driver: webdriver.Chrome) -> list[str]:
    found = driver.get_log("browser")  # type: ignore[no-untyped-call] # selenium types it not
    return [entry["message"] for entry in found]


def test_it_opens_without_a_complaint(table: webdriver.Chrome) -> None:
    assert complaints(table) == []
    assert "Tacotron" in table.title
    assert len(shown(table)) == 6


@pytest.mark.parametrize("maker", [sweeps.mixed, sweeps.hostile])
def test_nothing_runs_that_is_not_ours(
    browser: webdriver.Chrome, tmp_path: Path, maker: type
) -> None:
    browser.get(reports.render(maker(tmp_path / "sweep")).as_uri())
    assert complaints(browser) == []


def test_the_filter_hides_rows_and_says_how_many_are_left(table: webdriver.Chrome) -> None:
    table.find_element(By.ID, "filter").send_keys("force_float16")
    assert len(shown(table)) == 3
    assert table.find_element(By.ID, "found").text == "3 of 6 points"


def test_a_click_on_a_heading_sorts(table: webdriver.Chrome) -> None:
    selector = "#points-table th[data-key=mean_s] button"
    table.find_element(By.CSS_SELECTOR, selector).click()
    script = (
        "return [...document.querySelectorAll('#points-table tbody tr')].map(row => "
        "row.cells[[...document.querySelectorAll('#points-table thead tr:last-child th')]"
        ".findIndex(h => h.dataset.key === 'mean_s')].dataset.v)"
    )
    values = [float(value) for value in table.execute_script(script)]
    assert values == sorted(values)


def test_it_prints(table: webdriver.Chrome) -> None:
    assert len(table.print_page()) > 10_000


@pytest.mark.parametrize("width", [375, 1280])
def test_no_page_is_wider_than_its_window(table: webdriver.Chrome, width: int) -> None:
    table.set_window_size(width, 900)
    inner, content = table.execute_script(
        "return [window.innerWidth, document.documentElement.scrollWidth]"
    )
    assert content <= inner
