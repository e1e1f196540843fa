"""Where DuckDB writes what does not fit in memory: a folder for each connection, which goes with it.

Two connections that spill to one folder overwrite each other's files, which DuckDB names alike. What spills, and when,
is DuckDB's business; how much memory it may take is decided where the connection is made.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = "in_use.lock"


@contextmanager
def spill_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent` that nobody else uses; removed at the end, with those that killed processes left.

    Where the disk takes no folder it is one that is not there, and a statement that has to spill fails.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = FileLock(folder / LOCK)
        lock.acquire()
    except OSError:
        yield parent / "unwritable"
        return
    try:
        _remove_abandoned(parent)
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Folders whose lock went with its process. One that has no lock yet is being made."""
    for lock in parent.glob(f"*/{LOCK}"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (Timeout, OSError):
            continue
