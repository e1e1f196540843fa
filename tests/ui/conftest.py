"""The Dagster UI on a copy of the trained home, and a browser that looks at it.

The webserver starts runs by itself; the daemon, which queues them and runs backfills, is left out.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from end_to_end.market import copy_of, only_home, trained_home, workspace_in
from shared_folder import HANGS_AFTER_SECONDS

from twotower_assets.core.folders import CHECKOUT
from twotower_assets.workspace import DAGSTER_YAML, Workspace

QUEUE = """\
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: 2
"""
AT_ONCE = """\
run_coordinator:
  module: dagster.core.run_coordinator
  class: DefaultRunCoordinator
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Served:
    """A webserver and the home that it shows."""

    address: str
    workspace: Workspace


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The webserver on a copy of the trained home, without a queue, so that a run starts at once."""
    home = copy_of(trained_home(tmp_path_factory).home, tmp_path_factory.mktemp("ui"))
    assert QUEUE in DAGSTER_YAML
    (home / "dagster" / "dagster.yaml").write_text(DAGSTER_YAML.replace(QUEUE, AT_ONCE), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "webserver.log"
    with only_home(home), log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster_webserver", "-p", str(port), "-w", "workspace.yaml"],
            cwd=CHECKOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process, log)
        yield Served(address, workspace_in(home))
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + HANGS_AFTER_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.3)


@pytest.fixture(scope="module")
def browser(ui: Served) -> Iterator[Any]:
    """A headless Chromium of the machine; tests are skipped where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install -e .[dev])"
    )
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with playwright.sync_playwright() as driver:
        # Containers have neither a sandbox nor much shared memory.
        launched = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture
def page(ui: Served, browser: Any) -> Iterator[Any]:
    """A page of the UI, in the light theme."""
    context = browser.new_context(viewport={"width": 1440, "height": 1200}, base_url=ui.address)
    page = context.new_page()
    page.set_default_timeout(HANGS_AFTER_SECONDS * 1000 / 3)
    yield page
    context.close()
