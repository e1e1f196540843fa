"""`twotower ui` ends with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVER = """
import subprocess, sys, time
from pathlib import Path
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
try:
    Path("started").write_text(str(grandchild.pid))
    time.sleep(600)
except KeyboardInterrupt:
    Path("ended well").touch()
"""
UI = "import sys; from pathlib import Path; from twotower_assets.cli.ui import run_ui; "


def alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("ignored", [False, True], ids=["terminal", "background of a script"])
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_its_children(
    tmp_path: Path, signal_number: signal.Signals, ignored: bool
) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    before = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " if ignored else ""
    code = f"{before}{UI}sys.exit(run_ui([sys.executable, 'server.py'], Path({str(tmp_path)!r})))"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ, start_new_session=True)
    started = tmp_path / "started"
    while not (started.is_file() and started.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal_number)
    assert process.wait(60) == 0
    assert (tmp_path / "ended well").is_file()
    assert not alive(int(started.read_text()))


def test_the_exit_code_of_a_server_that_ends_by_itself_is_given(tmp_path: Path) -> None:
    code = f"{UI}sys.exit(run_ui([sys.executable, '-c', 'raise SystemExit(3)'], Path({str(tmp_path)!r})))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
