"""Reading a page as somebody would who does all that it says: its blocks run one after another, in one session.

The session has a home of its own: a fresh `~`, in which the raw files lie that the pages speak of, and a copy of the
finished demo. A block that is asked for runs after all those above it, so that any test can be run alone.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from documentation.blocks import PROJECT, SHELL, Block, blocks_of
from documentation.notebook import CELL
from documentation.outputs import VERSION, compared
from documentation.shell import Command, Shell, commands_of

CELLS = ("sql", "python")
COLUMNS = 120
"""Width of the terminal that the pages show."""
PYTHON = Path(__file__).with_name("notebook.py")


@dataclass(frozen=True)
class Demo:
    """The home of the finished demo, and what `twotower demo` printed."""

    home: Path
    printed: str


@dataclass
class Reading:
    """A page being read; `outcomes` says for each block that was run what was wrong with it, or nothing.

    `commands` is the folder of programs that are found first.
    """

    page: Path
    blocks: list[Block]
    demo: Demo
    person: Path
    raw: dict[str, Callable[[Path], str | None]]
    commands: Path
    outcomes: dict[int, str | None] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    _shell: Shell | None = None
    _versions: dict[str, str] = field(default_factory=dict)
    _printed: dict[int, str] = field(default_factory=dict)
    _broken: dict[int, str] = field(default_factory=dict)

    def outcome(self, block: Block) -> str | None:
        """What is wrong with a block, or nothing; skips the test where it cannot be run here."""
        for earlier in self.blocks:
            if earlier.line <= block.line and earlier.line not in self.outcomes:
                self.outcomes[earlier.line] = self._read(earlier)
        if block.line in self.skipped:
            pytest.skip(self.skipped[block.line])
        return self.outcomes[block.line]

    def _read(self, block: Block) -> str | None:
        directives = block.directives
        if "needs" in directives:
            missing = self.raw[directives["needs"]](self.person)
            if missing:
                self.skipped[block.line] = missing
                return None
        if "no-test" in directives:
            return None
        if "as in" in directives:
            return self._as_in(block, directives["as in"])
        if "file" in directives:
            return self._write(block, directives["file"])
        if "part of" in directives:
            return self._part_of(block, directives["part of"])
        if "output of" in directives:
            assert directives["output of"] == "twotower demo", f"{block.name}: output of an unknown command"
            return compared(block.text, self.demo.printed).difference
        if block.language in SHELL:
            return self._run(block)
        if block.language in CELLS:
            return self._cell(block)
        if block.output and block.follows:
            return self._compare(block, block.text, self._printed.get(block.follows.line, ""))
        return None

    def _run(self, block: Block) -> str | None:
        wrong = []
        for command in commands_of(self._current(block.text)):
            code, printed = self.shell.run(_quick(command, block.directives.get("quick", "")))
            if bool(code) != command.fails:
                wrong.append(f"$ {command.typed}\nended with {code}:\n{printed}")
            elif command.shown and (difference := self._compare(block, command.shown, printed)):
                wrong.append(f"$ {command.typed}\n{difference}")
        return "\n\n".join(wrong) or None

    def _cell(self, block: Block) -> str | None:
        """A cell of SQL or Python; it is run with those that follow, up to a block that is run in another way.

        Cells of Python further above are run again before, silently.
        """
        if block.line not in self._printed and block.line not in self._broken:
            run = [other for other in self.blocks if other.language in (*SHELL, *CELLS) and _runs(other)]
            later = (other for other in run if other.line >= block.line)
            together = list(itertools.takewhile(lambda other: other.language == block.language, later))
            above = [other for other in run if other.language == "python" == block.language and other.line < block.line]
            arguments = PYTHON, block.language, len(above), *self._files([*above, *together])
            code, printed = self.shell.run(Command(" ".join(f"'{part}'" for part in ("python", *arguments))))
            outputs = printed.split(CELL)
            for cell, output in zip(together, outputs[1:], strict=False):
                self._printed[cell.line] = output
            if code:
                failed = together[max(0, len(outputs) - 2) :]
                self._broken |= {cell.line: outputs[-1] for cell in failed}
        return self._broken.get(block.line)

    def _files(self, cells: list[Block]) -> list[Path]:
        files = [self.person / f".cell-{place}" for place in range(len(cells))]
        for file, cell in zip(files, cells, strict=True):
            file.write_text(self._current(cell.text), encoding="utf-8")
        return files

    def _compare(self, block: Block, shown: str, printed: str) -> str | None:
        tolerance = block.directives.get("tolerance") or (block.follows or block).directives.get("tolerance", "")
        found = compared(shown, printed, tolerance)
        for wanted, got in found.pairs:
            here = VERSION.findall(wanted), VERSION.findall(got)
            if len(here[0]) == len(here[1]):
                self._versions.update(zip(*here, strict=True))
        return found.difference

    def _current(self, text: str) -> str:
        """A text with the versions that the page shows replaced by those that were printed in their places."""
        return VERSION.sub(lambda match: self._versions.get(match[0], match[0]), text)

    def _write(self, block: Block, file: str) -> str | None:
        path = self._path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        return None

    def _part_of(self, block: Block, file: str) -> str | None:
        """Its text may stand above the block with the whole file."""
        whole = "".join(one.text for one in self.blocks if one.directives.get("file") == file)
        wanted, there = " ".join(block.text.split()), " ".join(whole.split())
        return None if wanted and wanted in there else f"this is no part of {file}:\n{block.text}\nwhich is:\n{whole}"

    def _as_in(self, block: Block, page: str) -> str | None:
        """A page that says the same of another one says it of one that is run."""
        run = [other for other in blocks_of(PROJECT / page) if other.language in SHELL and _runs(other)]
        others = {_words(command) for other in run for command in commands_of(other.text)}
        missing = [command.typed for command in commands_of(block.text) if _words(command) not in others]
        return f"these commands do not run on {page}:\n" + "\n".join(missing) if missing else None

    def _path(self, file: str) -> Path:
        assert file.startswith("~/"), f"a file of a block lies in the person's home, ~/, not in {file}"
        return self.person / file.removeprefix("~/")

    @property
    def shell(self) -> Shell:
        """The session; its home folders are made for the first block that runs."""
        if self._shell is None:
            home = shutil.copytree(self.demo.home, self.person / "twotower-home")
            (self.person / "checkout").mkdir()
            (self.person / "checkout" / ".venv").symlink_to(sys.prefix)
            for prepare in self.raw.values():
                prepare(self.person)
            environment = person_environment(self.person, Path(home))
            environment["PATH"] = f"{self.commands}{os.pathsep}{environment['PATH']}"
            self._shell = Shell(environment, self.person / "checkout", self.person / ".session")
        return self._shell


def person_environment(person: Path, home: Path) -> dict[str, str]:
    """The environment of somebody who has made the demo and activated `.venv`, at a terminal of `COLUMNS` columns."""
    kept = {name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE", "TMPDIR") if name in os.environ}
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {
        **kept,
        **pip,
        "HOME": str(person),
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TWOTOWER_HOME": str(home),
        "COLUMNS": str(COLUMNS),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "DG_CLI_CONFIG": str(Path(__file__).with_name("dg.toml")),
        "PYTHONUNBUFFERED": "1",  # both outputs in the order of a terminal
        "BROWSER": "true",  # what is to be opened is not
        "OMP_NUM_THREADS": "1",  # as many readers as cores may be at work
        "NUMBA_NUM_THREADS": "1",
    }


def load_yaml(text: str, scratch: Path) -> None:
    """Read a block of YAML as what it is: recipes, training settings of one, what the launchpad
    takes for the champion, the component of a code location, or a part of `dagster.yaml`.

    Raises what reading it raises.
    """
    from dagster import Shape
    from dagster._config import validate_config
    from dagster._core.instance.config import dagster_instance_config_schema

    from twotower_assets.components import TwoTowerComponent
    from twotower_assets.defs.assets.champion import ChampionConfig
    from twotower_assets.recipes.config import TrainingConfig
    from twotower_assets.recipes.recipes import load_recipes

    content = yaml.safe_load(text)
    assert isinstance(content, dict), f"a block of YAML is a mapping, not {content!r}"
    if all(isinstance(value, dict) and "training" in value for value in content.values()):
        file = scratch / "recipes.yaml"
        file.write_text(text, encoding="utf-8")
        assert set(content) <= set(load_recipes(file))
    elif set(content) == {"ops"}:
        assert set(content["ops"]) == {"champion"}
        ChampionConfig(**content["ops"]["champion"]["config"])
    elif set(content) == {"type", "attributes"}:
        assert content["type"] == "twotower_assets.components.TwoTowerComponent"
        TwoTowerComponent.resolve_from_yaml(yaml.safe_dump(content["attributes"]))
    elif set(content) <= set(dagster_instance_config_schema()):
        found = validate_config(Shape(dagster_instance_config_schema()), content)
        assert found.success, found.errors
    else:
        TrainingConfig(**content)


def _runs(block: Block) -> bool:
    return not {"no-test", "as in", "file", "part of"} & set(block.directives)


def _words(command: Command) -> str:
    return " ".join(command.typed.partition("  #")[0].split())


def _quick(command: Command, arguments: str) -> Command:
    if not arguments or not command.typed.startswith(("twotower compare", "twotower materialize training_job")):
        return command
    typed, _, comment = command.typed.partition("  #")
    return Command(f"{typed} {arguments} # {comment}", command.shown, command.entered)
