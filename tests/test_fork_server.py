"""Commands that are forks: to whoever starts them they are as if they had been started from nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fork_server import ForkServer

PROGRAM = """
import os, signal, sys, time
print("arguments", sys.argv[1:], "in", os.getcwd(), "with", os.environ.get("TWOTOWER_FIRST"))
print("read", sys.stdin.read(), file=sys.stderr)
if "wait" in sys.argv:
    print("waiting", flush=True)
    time.sleep(600)
if "die" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(3)
"""


@pytest.fixture
def run(commands: ForkServer, tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {"PATH": f"{commands.bin}{os.pathsep}{os.environ['PATH']}", "TWOTOWER_FIRST": "1"}

    def in_bash(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return in_bash


def test_arguments_environment_folder_files_and_exit_code_are_those_of_the_caller(run, tmp_path: Path) -> None:
    done = run("echo hello | python program.py 'a b' c 2> said")
    assert done.stdout == f"arguments ['a b', 'c'] in {tmp_path} with 1\n"
    assert (tmp_path / "said").read_text() == "read hello\n\n"
    assert done.returncode == 3


def test_commands_of_a_pipe_run_beside_each_other(run) -> None:
    done = run("python program.py < /dev/null | python -c 'import sys; print(len(sys.stdin.read().split()))'")
    assert done.stdout.strip() == "6"


def test_a_command_that_dies_of_a_signal_looks_so(run) -> None:
    assert run("exec python program.py die < /dev/null").returncode == -signal.SIGKILL


def test_a_command_ends_with_its_client(run) -> None:
    script = """
    coproc python program.py wait < /dev/null
    while read -r line <&"${COPROC[0]}" && [ "$line" != waiting ]; do :; done
    kill $!
    cat <&"${COPROC[0]}"  # ends when nobody can write any more
    """
    run(script)


def test_the_command_line_is_the_installed_one(run) -> None:
    done = run("twotower --help")
    assert done.returncode == 0
    assert "materialize" in done.stdout


def test_python_itself_is_the_real_one(run) -> None:
    assert run("""python -c 'import sys; print("dagster" in sys.modules)'""").stdout == "False\n"
