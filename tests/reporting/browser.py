"""A headless Chromium through Playwright; tests are skipped where there is none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[object]:
    """A browser; skips the test where Playwright or Chromium is missing."""
    if find_spec("playwright") is None:
        pytest.skip("the browser tests need Playwright: pip install -e '.[dev]'")
    if CHROMIUM is None:
        pytest.skip("the browser tests need Chromium: apt install chromium, or set CHROMIUM to its path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
