"""Commands in processes that have imported already.

`twotower …` and `python FILE …` take seconds to import before they do anything. `ForkServer` is a process that has
imported, and does nothing else; each command is a fork of it, with the arguments, environment, folder and open files of
whoever started it. Its folder `bin` holds `twotower` and `python`, small clients to be put first in `PATH`, so that
pipes, redirections and exit codes of a shell are those of the commands themselves.

The server only imports: a fork has none of the threads of its parent, so no library may have begun to work with them.
What a command does at its end (flushing, `atexit`) it does here too. `python` without a file (`-c`, `-m`, a prompt) is
the real one.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

import duckdb

CLIENT = Path(__file__).with_name("fork_client.py")
PROGRAMS = ("twotower", "python")
IMPORTED = (
    "altair",
    "dagster._cli.api",
    "dagster._core.execution.api",
    "dagster._core.storage.event_log",
    "dagster._core.storage.runs",
    "dagster._core.storage.schedules",
    "dagster._core.workspace.context",
    "faiss",
    "great_expectations.expectations",
    "polars",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "rich.progress",
    "rich.table",
    "safetensors.torch",
    "scipy.sparse",
    "scipy.stats",
    "torch",
    "vl_convert",
)
OWN_ENVIRONMENT = ("twotower_assets.definitions",)
"""What reads the environment when it is imported, and so is imported by the commands."""


class Request(NamedTuple):
    """A command: its program and arguments, its environment and folder, and its three open files."""

    program: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    files: list[int]


class ForkServer:
    """A server of commands, which ends with the `with` block or with this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fork-"))  # a socket's path must be short
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        client = f"#!{sys.executable} -SEs\n{CLIENT.read_text(encoding='utf-8')}"
        for program in PROGRAMS:
            (self.bin / program).write_text(client, encoding="utf-8")
            (self.bin / program).chmod(0o755)
        self._process = subprocess.Popen(
            [sys.executable, __file__, self.folder / "socket"],
            env={**environment, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the server of commands did not start"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        shutil.rmtree(self.folder)


def serve(address: str) -> Request:
    """Fork for every command, until standard input ends; what is returned is to be run by the fork that got it."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if listening not in ready:
                sys.exit()
            connection, _ = listening.accept()
            if os.fork() == 0:
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return _attended(connection)


def _attended(connection: socket.socket) -> Request:
    """The command of a connection, for a fork to run; this process sends its exit code, or ends it with the client."""
    request = _received(connection)
    command = os.fork()
    if command == 0:
        connection.close()
        return request
    for file in (*request.files, 0, 1):  # a pipe ends when the command closes it
        os.close(file)
    ended = os.pidfd_open(command)
    ready, _, _ = select.select([ended, connection], [], [])
    if ended not in ready:
        os.kill(command, signal.SIGTERM)
    _, status = os.waitpid(command, 0)
    with suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _received(connection: socket.socket) -> Request:
    size = array.array("i").itemsize
    start, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * size))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data[: len(data) - len(data) % size])
    length, text = int.from_bytes(start, "big"), b""
    while len(text) < length:
        text += connection.recv(length - len(text))
    return Request(**json.loads(text), files=list(files))


def become(request: Request) -> None:
    """Give this process the files, environment, folder and arguments of a command."""
    for file, target in zip(request.files, range(3), strict=True):
        os.dup2(file, target)
        os.close(file)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    file = request.program if request.program.endswith("twotower") else request.arguments.pop(0)
    sys.argv = [file, *request.arguments]
    added = request.environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path(file).parent), *filter(None, added)]
    duckdb.execute("RESET threads")


def run_and_exit(program: str) -> NoReturn:
    """Run a program, and end with its exit code, without taking a thousand modules apart, which takes half a second."""
    code: Any = 0
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def import_everything() -> None:
    """All modules of the platform, and what they import only when they need it."""
    package: Any = importlib.import_module("twotower_assets")
    for module in pkgutil.walk_packages(package.__path__, "twotower_assets."):
        if module.name not in OWN_ENVIRONMENT:
            importlib.import_module(module.name)
    for name in IMPORTED:
        importlib.import_module(name)
    duckdb.execute("SET threads = 1")  # its default connection starts threads when it is imported
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    import_everything()
    become(serve(sys.argv[1]))
    run_and_exit(sys.argv[0])
