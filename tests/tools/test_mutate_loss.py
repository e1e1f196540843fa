"""`tools/mutate_loss.py`: its mistakes are still mistakes in lines that are there. `make mutations` runs them."""

from __future__ import annotations

import subprocess
import sys

from twotower_assets.core.folders import CHECKOUT


def test_every_mutation_changes_a_line_that_is_there_once() -> None:
    assert CHECKOUT is not None
    program = CHECKOUT / "tools" / "mutate_loss.py"
    done = subprocess.run([sys.executable, program, "--list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 44
