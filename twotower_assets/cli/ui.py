"""Runs Dagster's development server as a child process of `twotower ui`, and stops it cleanly."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType

SECONDS_TO_END = 60.0


def run_ui(command: list[str], folder: Path) -> int:
    """Run a server in `folder` until it exits or this process gets SIGINT or SIGTERM; no child process is left running.

    The child runs in its own session, so that Ctrl-C reaches it only once, from here. Returns the child's exit code, or
    0 after a signal.
    """
    process: subprocess.Popen[bytes] | None = None
    stopped_at: float | None = None

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped_at
        if stopped_at is None:
            stopped_at = time.monotonic()
            if process is not None:
                process.send_signal(signal.SIGINT)

    # Before the child starts: in the background of a script SIGINT is ignored, and a child would inherit that.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    if stopped_at is not None:
        process.send_signal(signal.SIGINT)
    try:
        while stopped_at is None or time.monotonic() < stopped_at + SECONDS_TO_END:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(1.0)
                return 0 if stopped_at else code
        return 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for number, handler in before.items():
            signal.signal(number, handler)
