"""The code version of an asset: it changes only when the asset's behaviour may change.

A version is a hash over the modules that do the work, found by following imports within this package from the modules
that the asset names, and over its SQL and YAML files. Docstrings, comments and white space are excluded, and so are the
modules in `INFRASTRUCTURE`: they decide where rows are read, written and shown, not what the rows are.
"""

import ast
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import yaml

from twotower_assets.core.folders import PACKAGE, SQL_FOLDER

TOKEN_BEFORE_COMMENTS = re.compile(
    r"""([a-z]?'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\2\$|.+?)(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*""",
    re.DOTALL | re.IGNORECASE,
)
"""A DuckDB token (group 1), followed by white space and comments up to the next token."""
INFRASTRUCTURE = ("settings", "workspace", "lake", "defs", "components", "definitions", "cli")


def code_version(modules: Iterable[str] = (), files: Iterable[Path] = (), package: Path = PACKAGE) -> str:
    """The first 12 hex digits of a SHA-256 over modules with everything they import from the package, and over files.

    Args:
        modules: names relative to the package, such as `experiments.train_day`.
        files: .sql and .yaml files.
        package: the folder of the package.

    Raises:
        FileNotFoundError: a module does not exist.
        ValueError: a file is neither SQL nor YAML.
    """
    entries = [f"{name} {_python(package, name)[0]}" for name in sorted(closure(modules, package))]
    entries += sorted(
        f"{file.parent.name}/{file.name} {_data_hash(file.suffix, file.read_bytes())}" for file in set(files)
    )
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()[:12]


def sql_files(*patterns: str) -> list[Path]:
    """The SQL files under `sql/` that match the glob patterns."""
    return [file for pattern in patterns for file in sorted(SQL_FOLDER.glob(pattern))]


def closure(modules: Iterable[str], package: Path = PACKAGE) -> set[str]:
    """The modules and everything they import from the package, directly or indirectly, except `INFRASTRUCTURE`."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and name.split(".")[0] not in INFRASTRUCTURE:
            found.add(name)
            waiting += _python(package, name)[1]
    return found


def _python(package: Path, name: str) -> tuple[str, list[str]]:
    """The hash of a module, and the modules of the package that it imports."""
    return _running(name) if package == PACKAGE else _read_module(package, name)


@functools.cache
def _running(name: str) -> tuple[str, list[str]]:
    """As `_python`, of the package that this process runs: read once, since the process has imported it."""
    return _read_module(PACKAGE, name)


def _read_module(package: Path, name: str) -> tuple[str, list[str]]:
    file = _file_of(package, name)
    if file is None:
        raise FileNotFoundError(f"there is no module {name} in {package}")
    behaviour, imported = _parsed(file.read_bytes(), (package.name, *file.relative_to(package).parts[:-1]))
    return behaviour, list(_modules_named(package, imported))


def _file_of(package: Path, name: str) -> Path | None:
    path = package.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@functools.lru_cache(maxsize=1024)
def _parsed(content: bytes, folder: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The hash of a module in a folder of the package, and the full names of what it imports."""
    tree = ast.parse(content)
    text: list[str] = []
    imports: list[ast.AST] = []
    _read(tree, text, imports)
    names = {name for node in imports for name in _imported_names(node, folder)}
    return hashlib.sha256("".join(text).encode()).hexdigest(), tuple(sorted(names))


def _read(node: Any, text: list[str], imports: list[ast.AST]) -> None:
    """Append a syntax tree to `text` and its imports to `imports`.

    Excluded are docstrings and other bare strings, line numbers, and `if TYPE_CHECKING` blocks.
    """
    if isinstance(node, ast.AST):
        text.append(type(node).__name__)
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:  # fields that exist only in some Python versions are empty if unused
                text.append(f"({name}=")
                _read(value, text, imports)
                text.append(")")
    elif isinstance(node, list):
        for child in node:
            if not (_is_text(child) or _is_for_types(child)):
                _read(child, text, imports)
                text.append(",")
    else:
        text.append(repr(node))


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_types(node: Any) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imported_names(node: ast.AST, folder: tuple[str, ...]) -> Iterator[str]:
    """The full names that an import statement in a module of `folder` imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        start = folder[: len(folder) - node.level + 1] if node.level else ()
        origin = ".".join([*start, *([node.module] if node.module else [])])
        yield from (f"{origin}.{alias.name}" for alias in node.names)


def _modules_named(package: Path, names: Iterable[str]) -> Iterator[str]:
    """The package's modules among full names, each the name of a module or of something defined in one."""
    for name in names:
        root, _, below = name.partition(".")
        if root == package.name and below:
            module = below if _file_of(package, below) else below.rpartition(".")[0]
            if module and _file_of(package, module):
                yield module


@functools.lru_cache(maxsize=1024)
def _data_hash(suffix: str, content: bytes) -> str:
    text = content.decode()
    if suffix == ".sql":
        meaning: Any = _sql_tokens(text)
    elif suffix == ".yaml":
        meaning = yaml.safe_load(text)
    else:
        raise ValueError(f"a code version covers modules, .sql and .yaml files, not '{suffix}'")
    return hashlib.sha256(repr(meaning).encode()).hexdigest()


def _sql_tokens(text: str) -> list[str]:
    """The tokens of SQL text, without comments and white space."""
    content = text.encode()
    starts = [start for start, _ in duckdb.tokenize(text)]
    slices = (content[start:end].decode() for start, end in zip(starts, [*starts[1:], len(content)], strict=True))
    return [found[1] if (found := TOKEN_BEFORE_COMMENTS.fullmatch(piece)) else piece for piece in slices]
