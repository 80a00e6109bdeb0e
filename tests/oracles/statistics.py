"""Global values of a marker and its values in one cluster.

Source: stage-h.md, "Scores"; adaptive.md, rules 2 and 3 with the fine points of rule 3.
"""

import math

DEFAULT_SCORING = {
    "enrichment_statistic": "auto",
    "positive_reference": "auto",
    "positive_quantile": 0.75,
    "positive_threshold": "quantile",
    "on_min_positive_fraction": 0.15,
    "de_bonus": 0.6,
    "de_commonness_alpha": 0.5,
    "de_top_frac": 0.2,
    "de_min_k": 3,
    "de_max_k": 12,
    "anti_weight": 0.8,
    "anti_agg": "top2mean",
    "parent_markers": "all",
}
N_BINS = 256


def mean(values: list[float]) -> float:
    """Arithmetic mean, accumulated exactly."""
    return math.fsum(values) / len(values)


def quantile(values: list[float], fraction: float) -> float:
    """Quantile with linear interpolation between order statistics."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * fraction
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def population_std(values: list[float]) -> float:
    """Standard deviation with divisor n."""
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / len(values))


def otsu_cut(values: list[float]) -> float | None:
    """Middle of the first plateau of ``w0 w1 (mu0 - mu1)^2``; None without spread."""
    low, high = quantile(values, 0.001), quantile(values, 0.999)
    if not high > low:
        return None
    width = (high - low) / N_BINS
    counts = [0] * N_BINS
    for value in values:
        clipped = min(max(value, low), high)
        counts[min(int((clipped - low) / width), N_BINS - 1)] += 1
    centres = [low + (i + 0.5) * width for i in range(N_BINS)]
    n = len(values)
    total = math.fsum(counts[i] * centres[i] for i in range(N_BINS))
    heights = []
    below, mass = 0, 0.0
    for i in range(N_BINS - 1):
        below += counts[i]
        mass += counts[i] * centres[i]
        gap = mass / below - (total - mass) / (n - below)
        heights.append(below / n * (n - below) / n * gap * gap)
    top = max(heights)
    first = next(i for i, height in enumerate(heights) if height >= top * (1 - 1e-12))
    last = first
    while last + 1 < len(heights) and heights[last + 1] >= top * (1 - 1e-12):
        last += 1
    return low + ((first + 1) + (last + 1)) / 2 * width


def plain_threshold(values: list[float], scoring: dict) -> tuple[float, bool]:
    """Threshold and ``strict`` by ``positive_reference``, without Otsu."""
    lowest = min(values)
    if scoring["positive_reference"] == "nonzero":
        above = [value for value in values if value > lowest]
        if not above:
            return lowest, True
        return quantile(above, scoring["positive_quantile"]), False
    cut = quantile(values, scoring["positive_quantile"])
    if scoring["positive_reference"] == "auto" and cut == lowest:
        return lowest, True
    return cut, False


def reference_value(values: list[float], scoring: dict) -> dict:
    """Statistic kind, its global value, population std (0 becomes 1e-6), threshold, strict."""
    dense = quantile(values, 0.5) > min(values)
    kind = scoring["enrichment_statistic"]
    if kind == "auto":
        kind = "median" if dense else "mean"
    threshold, strict = plain_threshold(values, scoring)
    if scoring["positive_threshold"] == "otsu" and dense:
        cut = otsu_cut(values)
        if cut is not None:
            threshold, strict = cut, False
    std = population_std(values)
    return {
        "statistic": kind,
        "centre": quantile(values, 0.5) if kind == "median" else mean(values),
        "std": std if std > 0 else 1e-6,
        "threshold": threshold,
        "strict": strict,
    }


def cluster_value(values: list[float], reference: dict) -> dict:
    """Mean, median, positive fraction and enrichment of one marker in one cluster."""
    threshold = reference["threshold"]
    positive = 0
    for value in values:
        if value > threshold or (value == threshold and not reference["strict"]):
            positive += 1
    middle = quantile(values, 0.5)
    average = mean(values)
    statistic = middle if reference["statistic"] == "median" else average
    return {
        "mean": average,
        "median": middle,
        "positive_fraction": positive / len(values),
        "enrichment": (statistic - reference["centre"]) / reference["std"],
    }
