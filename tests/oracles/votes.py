"""Scaled values of the cells, votes among siblings, and agreement.

Source: stage-h.md, "Clustering" (scaling) and "Assignment" (voting); reference, section 6;
adaptive.md, the agreement of rule 8.
"""

import math

from .statistics import mean
from .tree import Node, root_paths

CLIP = 10.0


def scale(values: list[float]) -> list[float]:
    """Centre, divide by the sample standard deviation, clip at +-10."""
    centre = mean(values)
    squares = math.fsum((value - centre) ** 2 for value in values)
    std = math.sqrt(squares / (len(values) - 1))
    if std == 0:
        std = 1.0
    return [min(max((value - centre) / std, -CLIP), CLIP) for value in values]


def vote_of_cell(cell: int, paths: list[str], nodes: dict, scaled: dict, gap: float) -> str | None:
    """Path of the candidate that leads by ``gap`` or more; None: uncertain."""
    totals = [mean([scaled[column][cell] for column in nodes[path].resolved]) for path in paths]
    ordered = sorted(range(len(paths)), key=lambda i: -totals[i])
    if len(ordered) > 1 and totals[ordered[0]] - totals[ordered[1]] < gap:
        return None
    return paths[ordered[0]]


def composition(
    cells: list[int], ranked: list[str], nodes: dict[str, Node], scaled: dict, gap: float
) -> dict:
    """Share of the votes per candidate label (``ranked``: best score first) and Uncertain."""
    counts = {nodes[path].label: 0 for path in ranked}
    counts["Uncertain"] = 0
    for cell in cells:
        vote = vote_of_cell(cell, ranked, nodes, scaled, gap)
        counts["Uncertain" if vote is None else nodes[vote].label] += 1
    shares: dict = {label: count / len(cells) for label, count in counts.items()}
    shares["_evidence_only"] = True
    shares["_top_by_score"] = nodes[ranked[0]].label
    shares["_runner_up_by_score"] = nodes[ranked[1]].label
    return shares


def cell_score(cell: int, node: Node, scaled: dict) -> float:
    """Mean scaled value of the markers; the largest one for an inner node with several."""
    values = [scaled[column][cell] for column in node.resolved]
    if node.children and len(values) > 1:
        return max(values)
    return mean(values)


def step_agreement(cells: list[int], path: str, nodes: dict[str, Node], scaled: dict) -> float:
    """Share of the cells for which the chosen node is at least as good as every sibling."""
    node = nodes[path]
    family = root_paths(nodes) if node.parent is None else nodes[node.parent].children
    rivals = [other for other in family if other != path and nodes[other].resolved]
    agreeing = 0
    for cell in cells:
        own = cell_score(cell, node, scaled)
        if all(own >= cell_score(cell, nodes[other], scaled) for other in rivals):
            agreeing += 1
    return agreeing / len(cells)


def agreement(cells: list[int], walked: list[str], nodes: dict[str, Node], scaled: dict) -> float:
    """Smallest share over the steps of the path; 0 where no node was reached."""
    if not walked:
        return 0.0
    return min(step_agreement(cells, path, nodes, scaled) for path in walked)
