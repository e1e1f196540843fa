"""The chain of an artifact drawn as a tree for the terminal."""

from __future__ import annotations

from rich.tree import Tree

from twotower_assets.lake.lineage import Node


def as_tree(node: Node, parent: Tree | None = None) -> Tree:
    """The node and all below it."""
    label = f"[bold]{node.name}[/] [dim]{node.kind}[/]"
    branch = parent.add(label) if parent else Tree(label)
    for name, value in node.details.items():
        if name == "written_by":
            for write in value:
                where = f", {write['days']} ({write['partitions']} partitions)" if "days" in write else ""
                branch.add(f"[dim]snapshot {write['snapshot']}{where}, run {write['run_id'][:8]}[/]")
        else:
            branch.add(f"[dim]{name.replace('_', ' ')}: {value}[/]")
    for below in node.made_from:
        as_tree(below, branch)
    return branch
