"""Set up the environment that `make` works in: `python tools/install.py .venv dev`. Needs the standard library only.

uv installs where it is there, else pip. On Linux without an NVIDIA GPU torch is taken in its CPU build: the one on PyPI
brings several GB of CUDA along. `--dry-run` prints the commands.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PROJECT = Path(__file__).resolve().parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS_TO_ANSWER = 10


def main() -> int:
    """Make the environment and install the project into it, editable, with the pinned versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument("extra", nargs="+", help="such as dev")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    given = parser.parse_args()
    cpu = wants_cpu_build()
    if cpu and not answers(CPU_INDEX):
        cpu = False
        print(
            f"{CPU_INDEX} does not answer, so torch comes from where pip looks anyway. On PyPI that is the CUDA build, "
            "several GB, which works without a GPU too."
        )
    for command in commands(given.environment, given.extra, uv=shutil.which("uv"), cpu=cpu):
        if given.dry_run:
            print(shlex.join(command))
            continue
        print(f"$ {shlex.join(command)}", flush=True)
        if code := subprocess.run(command, cwd=PROJECT, check=False).returncode:
            return code
    return 0


def wants_cpu_build() -> bool:
    """Whether PyPI's torch would be a CUDA build that this machine cannot use."""
    has_gpu = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    return platform.system() == "Linux" and not has_gpu


def answers(index: str) -> bool:
    """Whether an index has a page on torch, asked with pip's certificates and the proxies of the environment."""
    certificates = next(filter(None, map(os.environ.get, ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"))), None)
    try:
        context = ssl.create_default_context(cafile=certificates)
        with urlopen(f"{index}/torch/", timeout=SECONDS_TO_ANSWER, context=context) as page:
            return bool(page.status == 200)
    except (URLError, OSError, ValueError):
        return False


def commands(environment: Path, extras: list[str], *, uv: str | None, cpu: bool) -> list[list[str]]:
    """What makes the environment and fills it, errors alone being printed."""
    python = str(environment / "bin" / "python")
    project = ["--constraint", "constraints.txt", "--editable", f".[{','.join(extras)}]"]
    if uv:
        # `--torch-backend` takes torch alone from that index; uv would take every package of an extra index from there.
        backend = ["--torch-backend", "cpu"] if cpu else []
        return [
            [uv, "venv", "--quiet", "--allow-existing", "--seed", "--python", sys.executable, str(environment)],
            [uv, "pip", "install", "--quiet", "--python", python, *backend, *project],
        ]
    pip = [python, "-m", "pip", "install", "--quiet", "--quiet"]
    index = ["--extra-index-url", CPU_INDEX] if cpu else []
    return [
        [sys.executable, "-m", "venv", str(environment)],
        [*pip, "--upgrade", "pip"],
        [*pip, *index, *project],
    ]


if __name__ == "__main__":
    sys.exit(main())
