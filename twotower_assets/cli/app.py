"""The Typer application that every command is added to, and shared options, error handling and consoles.

This module defines no command.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

import twotower_assets

if TYPE_CHECKING:
    from twotower_assets.workspace import Workspace

app = typer.Typer(
    help="Two-tower retrieval on Dagster: run jobs, query the lake, get recommendations, trace lineage.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, markup=False, emoji=False)
"""No text is markup: ids and titles may hold brackets and colons. What is styled is a `Text`."""
WIDE = 140
"""Terminal width at which no recipe name is truncated."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Count = Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of items.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"twotower-assets {twotower_assets.__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def errors_in_one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: print expected errors as a one-line message and exit with code 1."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        import duckdb

        try:
            return command(*args, **kwargs)
        except typer.Exit:  # a subclass of RuntimeError, but not an error: it carries the exit code
            raise
        except (RuntimeError, ValueError, LookupError, OSError, duckdb.Error) as error:
            fail(str(error) or type(error).__name__)

    return guarded


def fail(message: str) -> NoReturn:
    """Print an error and exit with code 1."""
    err.print(Text.assemble(("error:", "bold red"), " ", message), highlight=False)
    raise typer.Exit(1)


def note(message: str) -> None:
    """Print a note on standard error."""
    err.print(Text.assemble(("note:", "yellow"), " ", message), highlight=False)


def open_home() -> Workspace:
    """The workspace of the home folder."""
    from twotower_assets.settings import load_settings
    from twotower_assets.workspace import open_workspace

    return open_workspace(load_settings())


def json_value(value: Any) -> Any:
    """The value for JSON, which has no NaN or infinity: these become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def training_changes(changes: list[str]) -> dict[str, Any]:
    """The training settings given as `--set NAME=VALUE`. Raises `ValueError` for any other form."""
    import yaml

    pairs = [change.partition("=") for change in changes]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"--set takes NAME=VALUE, not '{wrong[0]}'")
    try:
        return {name: yaml.safe_load(value) for name, _, value in pairs}
    except yaml.YAMLError as error:
        raise ValueError(f"--set takes values as in YAML, such as 0.5, logq or [128, 64]: {error}") from error


def terminal_width() -> int:
    """Width available for a table, in columns."""
    return max(out.width, 80)
