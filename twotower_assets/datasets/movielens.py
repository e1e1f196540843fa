"""MovieLens-100K for the demo: extracted from a Python wheel that ships it, verified, and cached.

The data set belongs to GroupLens, which allows research use but no redistribution, so this project does not ship it.
The wheel is unpacked, but neither installed nor imported.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from twotower_assets.core.errors import ExpectedError

WHEEL = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
FILES = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
LICENCE = (
    "MovieLens-100K: F. Maxwell Harper and Joseph A. Konstan, The MovieLens Datasets, ACM TiiS 5 (2015). "
    "Licence of GroupLens, University of Minnesota: research use, no redistribution, "
    "https://files.grouplens.org/datasets/movielens/ml-100k-README.txt"
)


class FetchError(ExpectedError, RuntimeError):
    """The data set could not be fetched, or is not the expected one."""


def fetch_movielens(folder: Path) -> Path:
    """The folder with `ml-100k.inter`, `ml-100k.item` and `ml-100k.user`; downloads 2 MB if they are missing.

    Raises `FetchError` if pip cannot download the wheel, or its SHA-256 is not the expected one.
    """
    if all((folder / name).is_file() for name in FILES):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as name:
        scratch = Path(name)
        wheel = _download(scratch)
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for file in FILES:
                (scratch / file).write_bytes(archive.read(f"{WHEEL_FOLDER}/{file}"))
                (scratch / file).replace(folder / file)
    return folder


def _download(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FetchError(f"pip cannot download {WHEEL}, which ships MovieLens-100K: {done.stderr.strip()[-500:]}")
    (wheel,) = scratch.glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise FetchError(f"{wheel.name} has the SHA-256 {found}, expected {WHEEL_SHA256}; it was not unpacked")
    return wheel
