"""A block of a terminal: the commands after `$ `, what is shown below each, and running them in bash.

One command runs after another as in one session: what is exported, and the folder gone into, stay. What a prompt was
told (lines after `lake> ` or `D `) is given to the command as its input.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared_folder import HANGS_AFTER_SECONDS

PROMPT = re.compile(r"^(?:lake> |   …> |D |  · |· |‣ )")
_FAILURES = ("error:", "WRONG")


class ShellBlockError(ValueError):
    """A block that holds no command, or one that never ends."""


@dataclass(frozen=True)
class Command:
    """What is typed, what is typed at its prompt, and what is shown below."""

    typed: str
    shown: str = ""
    entered: str = ""

    @property
    def fails(self) -> bool:
        """Whether the page shows an error, so that it must fail."""
        return any(line.startswith(_FAILURES) for line in self.shown.splitlines())


def commands_of(text: str) -> Iterator[Command]:
    """The commands of a block. Raises `ShellBlockError`."""
    lines = text.splitlines()
    while lines:
        if not lines[0].startswith("$ "):
            raise ShellBlockError(f"a command starts with '$ ', not with '{lines[0]}'")
        typed = lines.pop(0)[2:]
        while not _complete(typed):
            if not lines:
                raise ShellBlockError(f"this command has no end: {typed}")
            typed += "\n" + lines.pop(0).removeprefix("> ")
        shown: list[str] = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        entered = [PROMPT.sub("", line) for line in shown if PROMPT.match(line)]
        rest = [line for line in shown if not PROMPT.match(line)]
        yield Command(typed, "\n".join(rest).strip("\n"), "".join(f"{line}\n" for line in entered))


def _complete(typed: str) -> bool:
    done = subprocess.run(["bash", "-n", "-c", typed], capture_output=True, text=True, check=False)
    return not typed.endswith("\\") and done.returncode == 0 and "here-document" not in done.stderr


@dataclass
class Shell:
    """A session of bash: its environment and folder, kept from command to command in files in `state`."""

    environment: dict[str, str]
    folder: Path
    state: Path
    _started: bool = field(default=False, init=False)

    def run(self, command: Command) -> tuple[int, str]:
        """The exit code, and what was printed to both outputs."""
        self.state.mkdir(parents=True, exist_ok=True)
        exports, folder = self.state / "exports", self.state / "folder"
        before = f". '{exports}'; cd \"$(cat '{folder}')\"" if self._started else ":"
        script = f"{before}\n{command.typed}\ncode=$?\nexport -p > '{exports}'\npwd > '{folder}'\nexit $code"
        done = subprocess.run(
            ["bash", "-c", script],
            input=command.entered,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=self.environment,
            cwd=self.folder,
            timeout=HANGS_AFTER_SECONDS,
            check=False,
        )
        self._started = exports.is_file()
        return done.returncode, PROMPT_PRINTED.sub("", done.stdout)

    def variables(self, *names: str) -> Mapping[str, str]:
        """The variables of the session that have these names, where they are set."""
        script = "\n".join(f'printf "%s\\0" "${{{name}-}}"' for name in names)
        code, printed = self.run(Command(script))
        assert code == 0, printed
        return {name: value for name, value in zip(names, printed.split("\0"), strict=False) if value}


PROMPT_PRINTED = re.compile(r"^(?:lake> |   …> )+", re.MULTILINE)
