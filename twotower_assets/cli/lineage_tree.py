"""Draws the lineage of an artifact as a tree for the terminal."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from twotower_assets.lake.lineage import Node


def as_tree(node: Node, parent: Tree | None = None) -> Tree:
    """The tree of a node and everything it was made from."""
    label = Text.assemble((node.name, "bold"), " ", (node.kind, "dim"))
    branch = parent.add(label) if parent else Tree(label)
    for name, value in node.details.items():
        if name == "written_by":
            for write in value:
                days = f", {write['days']} ({write['partitions']} partitions)" if "days" in write else ""
                branch.add(Text(f"snapshot {write['snapshot']}{days}, run {write['run_id'][:8]}", style="dim"))
        else:
            branch.add(Text(f"{name.replace('_', ' ')}: {value}", style="dim"))
    for source in node.made_from:
        as_tree(source, branch)
    return branch
