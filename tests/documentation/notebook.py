"""A program: run cells as a notebook does, the last of them aloud. `notebook.py sql|python FILE…`

A cell of SQL runs on the lake of the home folder, read-only, and each statement's rows are printed; a cell of Python
prints the value of its last line.
"""

from __future__ import annotations

import ast
import contextlib
import io
import shutil
import sys
from pathlib import Path
from typing import Any

MOST_ROWS = 1000


def run_sql(text: str) -> None:
    from twotower_assets.settings import load_settings
    from twotower_assets.workspace import open_workspace

    with open_workspace(load_settings()).lake.reader(transaction=False) as con:
        for statement in con.extract_statements(text):
            relation = con.sql(statement.query)
            if relation is not None:
                relation.show(max_width=shutil.get_terminal_size().columns, max_rows=MOST_ROWS)


def run_python(text: str, names: dict[str, Any]) -> None:
    tree = ast.parse(text)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        if value is not None:
            print(value)


def main() -> None:
    language, *cells = sys.argv[1], *(Path(name).read_text(encoding="utf-8") for name in sys.argv[2:])
    if language == "sql":
        run_sql(cells[-1])
        return
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells[:-1]:
        with contextlib.redirect_stdout(io.StringIO()):
            run_python(cell, names)
    run_python(cells[-1], names)


if __name__ == "__main__":
    main()
