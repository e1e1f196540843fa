"""A program: run cells as a notebook does. `notebook.py sql|python SILENT FILE…`

A cell of SQL runs on the lake of the home folder, read-only, and each statement's rows are printed; a cell of Python
prints the value of its last line. The first SILENT cells print nothing; above what each other one prints stands `CELL`.
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
CELL = "\x1ecell\n"


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
    names: dict[str, Any] = {"__name__": "__main__"}
    for place, name in enumerate(sys.argv[3:]):
        silent = place < int(sys.argv[2])
        print(end="" if silent else CELL, flush=True)
        with contextlib.redirect_stdout(io.StringIO()) if silent else contextlib.nullcontext():
            cell = Path(name).read_text(encoding="utf-8")
            run_sql(cell) if sys.argv[1] == "sql" else run_python(cell, names)


if __name__ == "__main__":
    main()
