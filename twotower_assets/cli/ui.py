"""`twotower ui`: Dagster's own development server as a child, and the pages of reports beside it."""

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
    """Run a server in `folder` until it ends, or this process is asked to end; no child outlives it.

    The child is in a session of its own, so that Ctrl-C at a terminal reaches it once, from here. Gives its exit code,
    or 0 where it was asked to end.
    """
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    asked_at: float | None = None

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked_at
        if asked_at is None:
            asked_at = time.monotonic()
            process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while asked_at is None or time.monotonic() < asked_at + SECONDS_TO_END:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(1.0)
                return 0 if asked_at else code
        return 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for number, handler in before.items():
            signal.signal(number, handler)
