"""The page in a real browser: it opens from a file, complains about nothing, and its tools work."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pypdf
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

import reports
from reports.exports import comparison
from tests.make_trials import make_trial, write_sweep
from tests.reports import sweeps
from tests.reports.browser import complaints, needs_browser, pdf, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from selenium import webdriver

    from tests.reports.conftest import Once


pytestmark = needs_browser


@pytest.fixture
def table(browser: webdriver.Chrome, page_of: Once) -> webdriver.Chrome:
    show(browser, page_of(sweeps.seed_table))
    return browser


def shown(driver: webdriver.Chrome) -> list[str]:
    rows = driver.find_elements(By.CSS_SELECTOR, "#points-table tbody tr")
    return [row.find_element(By.TAG_NAME, "th").text for row in rows if row.is_displayed()]


def test_it_opens_without_a_complaint(table: webdriver.Chrome) -> None:
    assert complaints(table) == []
    assert "Tacotron" in table.title
    assert len(shown(table)) == 6


@pytest.mark.parametrize("maker", [sweeps.mixed, sweeps.hostile])
def test_nothing_runs_that_is_not_ours(
    browser: webdriver.Chrome, tmp_path: Path, maker: type
) -> None:
    show(browser, reports.render(maker(tmp_path / "sweep")))
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


@pytest.fixture
def many(browser: webdriver.Chrome, tmp_path: Path) -> webdriver.Chrome:
    """Show a sweep with more points than have sections of their own."""
    trials = [make_trial(sweeps.processes(2, 12, bs, bs), bs=bs) for bs in range(1, 31)]
    show(browser, reports.render(write_sweep(tmp_path / "sweep", trials)))
    return browser


def test_a_point_opens_in_place_with_its_command_and_closes(many: webdriver.Chrome) -> None:
    sections = {one.get_attribute("id") for one in many.find_elements(By.CLASS_NAME, "point")}
    links = many.find_elements(By.CSS_SELECTOR, "#points-table tbody th a")
    link = next(
        one for one in links if str(one.get_attribute("href")).split("#")[1] not in sections
    )
    link.click()
    opened = WebDriverWait(many, 10).until(
        lambda driver: driver.find_element(By.CSS_SELECTOR, "#opened section")
    )
    assert opened.find_element(By.TAG_NAME, "h3").text == link.text
    assert f"bs={link.text.split('-bs')[1].split('-')[0]}" in opened.text
    assert "Before the steady state: compile" in opened.text
    assert len(opened.find_elements(By.TAG_NAME, "svg")) == 2
    opened.find_element(By.XPATH, "./button").click()
    assert not many.find_elements(By.CSS_SELECTOR, "#opened section")
    assert many.switch_to.active_element == link
    assert complaints(many) == []


def test_the_fragment_restores_the_view(table: webdriver.Chrome, browser: webdriver.Chrome) -> None:
    table.find_element(By.ID, "filter").send_keys("bs8")
    table.find_element(By.CSS_SELECTOR, "#points-table th[data-key=mean_s] button").click()
    address = table.current_url
    browser.get("about:blank")
    browser.get(address)
    assert len(shown(browser)) == 2
    head = browser.find_element(By.CSS_SELECTOR, "#points-table th[data-key=mean_s]")
    assert head.get_attribute("aria-sort") == "ascending"


def test_without_a_script_everything_that_is_said_is_still_there(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    page = reports.render(sweeps.seed_table(tmp_path / "sweep"))
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#points-table tbody tr")) == 6
        assert not browser.find_element(By.ID, "filter").is_displayed()
        assert browser.find_element(By.CSS_SELECTOR, "#figures ~ figure svg").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_page_asks_for_nothing_but_itself(table: webdriver.Chrome) -> None:
    asked = table.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked == []


def test_a_script_that_is_not_ours_is_refused(table: webdriver.Chrome) -> None:
    table.execute_script(
        "const one = document.createElement('script');"
        "one.textContent = 'document.title = \"taken\"'; document.body.append(one);"
        "const image = new Image(); image.src = 'https://example.org/x.png';"
        "document.body.append(image);"
    )
    assert table.title != "taken"
    refused = " ".join(complaints(table))
    assert "script-src" in refused
    assert "img-src" in refused


def test_paper_holds_the_first_row_and_the_last(table: webdriver.Chrome) -> None:
    pages = pypdf.PdfReader(io.BytesIO(pdf(table))).pages
    text = "".join("".join(page.extract_text().split()) for page in pages)
    for name in shown(table):
        assert name in text
    for word in ("Reproduce", "sha256sum", "Madebytts-harness"):
        assert word in text
    assert 3 < len(pages) < 25


def made(folder: Path) -> Path:
    """Return a folder that is there."""
    folder.mkdir()
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    "sweep": lambda folder: reports.render(sweeps.seed_table(folder)),
    "mixed": lambda folder: reports.render(sweeps.mixed(folder)),
    "empty": lambda folder: reports.render(write_sweep(made(folder), [])),
}


def comparison_page(folder: Path) -> Path:
    """Write the page of a comparison."""
    page = made(folder) / "comparison.html"
    page.write_text(comparison.to_html(sweeps.compared()), "utf-8")
    return page


MAKERS["comparison"] = comparison_page


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_no_page_is_wider_than_its_window(
    browser: webdriver.Chrome, tmp_path: Path, maker: Callable[[Path], Path]
) -> None:
    page = maker(tmp_path / "sweep")
    for width in (320, 390, 1280):
        show(browser, page, width=width)
        content = browser.execute_script("return document.documentElement.scrollWidth")
        assert content <= width, width
    assert complaints(browser) == []
