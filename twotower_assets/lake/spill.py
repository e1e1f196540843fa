"""Temporary folders for DuckDB's data that does not fit in memory: one per connection, removed with it.

Two connections that spill to the same folder would overwrite each other's files, because DuckDB gives them equal names.
`lake` sets the memory limit.
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
    """An empty, exclusive folder in `parent`. It is removed at the end, like folders that killed processes left behind.

    If no folder can be created, the path does not exist, and a statement that has to spill fails.
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
    """Remove folders whose process has ended and so released its lock. Folders being created have no lock file yet."""
    for lock in parent.glob(f"*/{LOCK}"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (Timeout, OSError):
            continue
