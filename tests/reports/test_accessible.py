"""axe-core finds nothing on any page, light or dark, opened or closed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import reports
from reports.exports import comparison
from tests.make_trials import make_trial, write_sweep
from tests.reports import sweeps
from tests.reports.browser import needs_browser, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from selenium import webdriver

    from tests.reports.conftest import Once


AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

pytestmark = [
    *needs_browser,
    pytest.mark.skipif(not AXE.exists(), reason="axe-core: npm install --prefix tests/reports"),
]


MOST_OPENED = 30
"""Details opened on a page: what follows is more of the same."""


def many(folder: Path) -> Path:
    """Render points beyond those that have sections of their own."""
    trials = [make_trial(sweeps.processes(2, 12, bs, bs), bs=bs) for bs in range(1, 31)]
    return reports.render(write_sweep(folder, trials))


def compared(folder: Path) -> Path:
    """Render a comparison."""
    folder.mkdir()
    (folder / "comparison.html").write_text(comparison.to_html(sweeps.compared()), "utf-8")
    return folder / "comparison.html"


MAKERS: dict[str, Callable[[Path], Path]] = {
    "sweep": lambda folder: reports.render(sweeps.seed_table(folder)),
    "mixed": lambda folder: reports.render(sweeps.mixed(folder)),
    "hostile": lambda folder: reports.render(sweeps.hostile(folder)),
    "many": many,
    "compared": compared,
}


def violations(driver: webdriver.Chrome) -> list[str]:
    """Return what axe-core finds, one line each."""
    driver.execute_script(AXE.read_text("utf-8"))
    found: list[dict[str, Any]] = driver.execute_async_script(
        "const [tags, done] = arguments;"
        "axe.run(document, { runOnly: { type: 'tag', values: tags } })"
        ".then(r => done(r.violations)).catch(e => done([{ id: String(e), nodes: [] }]));",
        TAGS,
    )
    return [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
        for one in found
        for node in one["nodes"] or [{"html": "", "failureSummary": ""}]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_no_barrier_is_found(
    browser: webdriver.Chrome, once: Once, maker: Callable[[Path], Path], dark: bool
) -> None:
    show(browser, once(maker), dark=dark)
    browser.execute_script(
        "[...document.querySelectorAll('details')].slice(0, arguments[0])"
        ".forEach(one => { one.open = true; });"
        "const all = [...document.querySelectorAll('#points-table tbody th a')];"
        "const far = all.find(a => !document.getElementById(a.hash.slice(1)));"
        "if (far) far.click();",
        MOST_OPENED,
    )
    assert violations(browser) == []
