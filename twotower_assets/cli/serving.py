"""Commands that query the champion or another version: recommendations for a user, similar items."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from twotower_assets.cli.app import AsJson, Count, app, errors_in_one_line, note, open_home, out


class ExportFormat(StrEnum):
    """What towers are exported to."""

    onnx = "onnx"
    torch = "torch"
    safetensors = "safetensors"


VersionOption = Annotated[
    str | None,
    typer.Option("--version", help="A version, the start of one, or a day. Default: the champion."),
]


@app.command()
@errors_in_one_line
def recommend(
    user: Annotated[str, typer.Option("--user", help="The user's id.")],
    k: Count = 10,
    popularity_weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="γ: 1 = click probability, 0 = PMI, affinity alone."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Lists at γ = 0, ½ and 1, with the clicked items most like each."),
    ] = False,
    version: VersionOption = None,
    as_json: AsJson = False,
) -> None:
    """Recommend items to a user, without those already clicked, from the champion or another version.

    Examples: `twotower recommend --user 1`, `twotower recommend --user 1 -k 5 --explain`,
    `twotower recommend --user 1 --popularity-weight 0.5 --json`, `twotower recommend --user 1 --version 1998-04-22`
    """
    from twotower_assets.serving.recommendations import serving

    if explain and popularity_weight is not None:
        raise ValueError("--explain shows γ = 0, ½ and 1; omit --popularity-weight")
    with serving(open_home(), version) as served:
        title = f"For user {user}" + (f", from {served.version.model_version}" if version else "")
        if explain:
            _show_explained(served.explain(user, k), title, as_json)
        else:
            _show(served.recommend(user, k, popularity_weight), title, as_json)
        if warning := served.popularity_warning(popularity_weight):
            note(warning)


@app.command()
@errors_in_one_line
def similar(
    item: Annotated[str, typer.Option("--item", help="The item's id.")],
    k: Count = 10,
    version: VersionOption = None,
    as_json: AsJson = False,
) -> None:
    """List the items whose vectors are nearest to an item's, in the champion or another version.

    Example: `twotower similar --item 50 -k 5`
    """
    from twotower_assets.serving.recommendations import serving

    with serving(open_home(), version) as served:
        title = f"Like item {item}" + (f", in {served.version.model_version}" if version else "")
        _show(served.similar(item, k), title, as_json)


def _show(suggestions: list[Any], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps([suggestion.as_dict() for suggestion in suggestions], ensure_ascii=False))
        return
    table = RichTable(title=title)
    for heading in ("", "item", "title", "category", "bucket", "score"):
        table.add_column(heading, justify="right" if heading in ("", "score") else "left")
    for item in suggestions:
        names = item.item_id, item.title or "", item.category, item.bucket
        table.add_row(str(item.rank), *names, f"{item.score:.3f}")
    out.print(table)


def _show_explained(lists: dict[float, list[Any]], title: str, as_json: bool) -> None:
    """Print the lists next to each other, with the clicked items most similar to each item."""
    if as_json:
        found = [
            {"popularity_weight": gamma, "items": [item.as_dict() for item in items]} for gamma, items in lists.items()
        ]
        print(json.dumps(found, ensure_ascii=False))
        return
    table = RichTable(title=title, show_lines=True)
    table.add_column("", justify="right")
    for gamma in lists:
        meaning = {0.0: ", affinity alone", 1.0: ", click probability"}.get(gamma, "")
        table.add_column(f"γ = {gamma:g}{meaning}", ratio=1)
    for rank in range(max(map(len, lists.values()))):
        cells = [_explained(items[rank]) if rank < len(items) else Text() for items in lists.values()]
        table.add_row(str(rank + 1), *cells)
    out.print(table)


def _explained(item: Any) -> Text:
    like = " and ".join(near["title"] or near["item_id"] for near in item.because)
    name = Text.assemble((item.title or item.item_id, "bold"), f" ({item.bucket})")
    return Text.assemble(name, (f"\nlike {like}", "dim")) if like else name


@app.command()
@errors_in_one_line
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder for the files.")],
    format: Annotated[ExportFormat, typer.Option("--format", help="Of the towers.")] = ExportFormat.onnx,
    version: VersionOption = None,
    as_json: AsJson = False,
) -> None:
    """Export a version of the model to files that need neither this package nor its lake; default: the champion.

    Examples: `twotower export ~/model`, `twotower export ~/model --format safetensors --version 1998-04-22`
    """
    from twotower_assets.serving.export_model import export_model
    from twotower_assets.serving.versions import find_version

    workspace = open_home()
    with workspace.lake.reader() as con:
        found = find_version(con, version or "champion").model_version
    files = export_model(workspace, found, folder.expanduser(), format.value)
    if as_json:
        print(json.dumps({"version": found, "files": [str(file) for file in files]}))
        return
    print(f"{found} as {format.value}:")
    for file in files:
        print(f"  {file}")
