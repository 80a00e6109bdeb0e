"""Cells that contradict their label, answered by those that are sure of theirs, cell by cell.

Source: docs/methods.md, "A label for each cell". Linear discriminant (Fisher 1936): equal
covariances, priors by counts; shrinkage (Ledoit & Wolf 2004) on values standardised in the class.
"""

import math

from .statistics import mean
from .tree import Node, root_paths
from .votes import cell_score

LEAST_EXAMPLES = 5


def agrees(cell: int, path: str, nodes: dict[str, Node], scaled: dict) -> bool:
    """Whether no sibling of any cell type from the root to ``path`` scores better in the cell."""
    node = nodes[path]
    family = root_paths(nodes) if node.parent is None else nodes[node.parent].children
    rivals = [nodes[other] for other in family if other != path and nodes[other].resolved]
    if rivals:
        if not node.resolved:
            return False
        own = cell_score(cell, node, scaled)
        if any(cell_score(cell, rival, scaled) > own for rival in rivals):
            return False
    return node.parent is None or agrees(cell, node.parent, nodes, scaled)


def sure_leaf(cell: int, nodes: dict[str, Node], scaled: dict, gap: float) -> str | None:
    """Leaf that leads all other leaves by ``gap`` in the cell; None without another leaf."""
    leaves = [node for node in nodes.values() if node.resolved and not node.children]
    if len(leaves) < 2:
        return None
    scores = {leaf.path: cell_score(cell, leaf, scaled) for leaf in leaves}
    best = max(scores, key=lambda path: scores[path])
    others = [score for path, score in scores.items() if path != best]
    return best if scores[best] - max(others) >= gap else None


def example_of(cell: dict, nodes: dict[str, Node], scaled: dict, let_in: set, gap: float) -> dict:
    """What a cell is an example of (None: of nothing), and whether it is asked.

    ``cell``: ``cell``, ``path`` (its own label), ``cluster_path`` and ``at_leaf`` of its cluster.
    """
    if cell["cluster_path"] not in nodes:
        return {"of": None, "asked": False}
    path = cell["path"]
    counts = not nodes[path].children or path == cell["cluster_path"]
    if counts and agrees(cell["cell"], path, nodes, scaled):
        return {"of": path, "asked": False}
    leaf = sure_leaf(cell["cell"], nodes, scaled, gap)
    return {"of": leaf if leaf in let_in else None, "asked": cell["at_leaf"]}


def shrunk_covariance(rows: list[list[float]]) -> list[list[float]]:
    """Covariance of one class, standardised, drawn towards its mean variance, and scaled back."""
    n, p = len(rows), len(rows[0])
    centre = [mean([row[j] for row in rows]) for j in range(p)]
    scale = []
    for j in range(p):
        deviation = math.sqrt(mean([(row[j] - centre[j]) ** 2 for row in rows]))
        scale.append(deviation if deviation > 0 else 1.0)
    z = [[(row[j] - centre[j]) / scale[j] for j in range(p)] for row in rows]
    s = [[mean([row[i] * row[j] for row in z]) for j in range(p)] for i in range(p)]
    level = mean([s[j][j] for j in range(p)])
    target = [[level if i == j else 0.0 for j in range(p)] for i in range(p)]
    away = mean_square(s, target)
    noise = sum(mean_square([[a * b for b in row] for a in row], s) for row in z) / n**2
    share = 0.0 if away == 0 else min(noise, away) / away
    return [
        [scale[i] * scale[j] * ((1 - share) * s[i][j] + share * target[i][j]) for j in range(p)]
        for i in range(p)
    ]


def mean_square(a: list[list[float]], b: list[list[float]]) -> float:
    """Squared differences of two square matrices, summed and divided by their size."""
    return sum(
        (x - y) ** 2 for r, q in zip(a, b, strict=True) for x, y in zip(r, q, strict=True)
    ) / (len(a))


def dot(a: list[float], b: list[float]) -> float:
    """Sum of products."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solution of ``matrix x = right`` by elimination with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    n = len(rows)
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(n):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def discriminants(examples: dict[str, list[list[float]]]) -> dict[str, tuple[list[float], float]]:
    """Weights and constant of each class."""
    total = sum(map(len, examples.values()))
    p = len(next(iter(examples.values()))[0])
    pooled = [[0.0] * p for _ in range(p)]
    for rows in examples.values():
        own = shrunk_covariance(rows)
        for i in range(p):
            for j in range(p):
                pooled[i][j] += len(rows) / total * own[i][j]
    found = {}
    for name, rows in examples.items():
        centre = [mean([row[j] for row in rows]) for j in range(p)]
        weights = solve(pooled, centre)
        constant = math.log(len(rows) / total) - dot(weights, centre) / 2
        found[name] = (weights, constant)
    return found


def taught(
    cells: list[dict],
    nodes: dict[str, Node],
    scaled: dict,
    let_in: set,
    gap: float,
    coordinates: list[list[float]],
) -> dict[int, str]:
    """Path of each cell that is asked and answered, by its number."""
    judged = {c["cell"]: example_of(c, nodes, scaled, let_in, gap) for c in cells}
    examples: dict[str, list[list[float]]] = {}
    for path in nodes:
        rows = [coordinates[i] for i, one in sorted(judged.items()) if one["of"] == path]
        if len(rows) >= LEAST_EXAMPLES:
            examples[path] = rows
    if len(examples) < 2:
        return {}
    lines = discriminants(examples)
    answers = {}
    for i, one in judged.items():
        if one["asked"]:
            scores = {
                path: constant + dot(weights, coordinates[i])
                for path, (weights, constant) in lines.items()
            }
            answers[i] = max(scores, key=lambda path: scores[path])
    return answers
