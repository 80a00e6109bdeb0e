"""The label of each cell alone, cell by cell.

Source: adaptive.md, rule 7.
"""

from .assignment import candidates, compete
from .tree import Node, root_paths
from .votes import vote_of_cell


def rivals(trace: dict, nodes: dict[str, Node], scores: dict, gates: dict, gating: dict) -> list:
    """Paths among which a cell may choose; fewer than two: there is no choice."""
    if trace["stop"] == "ambiguous_siblings":
        return candidates(trace["steps"][-1], scores, gating)
    if trace["stop"] != "leaf_reached":
        return []
    leaf = nodes[trace["walked"][-1]]
    family = root_paths(nodes) if leaf.parent is None else nodes[leaf.parent].children
    step = compete(family, nodes, scores, gates, gating)
    return [leaf.path, *(path for path in step["ranked"] if path != leaf.path)]


def path_of_cell(
    cell: int, assigned: str, paths: list[str], nodes: dict[str, Node], scaled: dict, gap: float
) -> str:
    """Path of the label of one cell."""
    if len(paths) < 2:
        return assigned
    vote = vote_of_cell(cell, paths, nodes, scaled, gap)
    return assigned if vote is None else vote
