"""Debian's headless Chromium with the network cut off, and what tests do with it."""

from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING

import pytest
from selenium import webdriver

if TYPE_CHECKING:
    from pathlib import Path


BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars",
)  # fmt: skip
HEIGHT = 900


needs_browser = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed"
    ),
]
"""Marks of a module whose tests are skipped where there is no browser."""


def start(profile: Path) -> webdriver.Chrome:
    """Start a browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))


def show(
    driver: webdriver.Chrome, page: Path, *, width: int = 1280, dark: bool = False,
    paper: bool = False, scale: float = 1,
) -> None:  # fmt: skip
    """Open a page in a window of the given width, as light or dark, screen or paper."""
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    media = {"media": "print" if paper else "screen", "features": [theme]}
    size = {"width": width, "height": HEIGHT, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get("about:blank")  # a new fragment alone would not load the page again
    driver.get(page.as_uri())


def complaints(driver: webdriver.Chrome) -> list[str]:
    """Return what the console said since it was last asked."""
    found = driver.get_log("browser")  # type: ignore[no-untyped-call] # selenium types it not
    return [entry["message"] for entry in found]


def picture(driver: webdriver.Chrome, width: int) -> bytes:
    """Return the whole page as PNG."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
    )
    return base64.b64decode(taken["data"])


def pdf(driver: webdriver.Chrome) -> bytes:
    """Return the page as it would be printed."""
    return base64.b64decode(driver.print_page())
