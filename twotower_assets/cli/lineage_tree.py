"""Draws the lineage of an artifact as a tree for the terminal."""

from __future__ import annotations

from rich.tree import Tree

from twotower_assets.lake.lineage import Node


def as_tree(node: Node, parent: Tree | None = None) -> Tree:
    """The tree of a node and everything it was made from."""
    label = f"[bold]{node.name}[/] [dim]{node.kind}[/]"
    branch = parent.add(label) if parent else Tree(label)
    for name, value in node.details.items():
        if name == "written_by":
            for write in value:
                days = f", {write['days']} ({write['partitions']} partitions)" if "days" in write else ""
                branch.add(f"[dim]snapshot {write['snapshot']}{days}, run {write['run_id'][:8]}[/]")
        else:
            branch.add(f"[dim]{name.replace('_', ' ')}: {value}[/]")
    for source in node.made_from:
        as_tree(source, branch)
    return branch
