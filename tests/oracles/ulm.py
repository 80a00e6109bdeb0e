"""t value of the slope of a straight line, by the textbook."""

import math

from .statistics import mean


def t_of_slope(x: list[float], y: list[float]) -> float:
    """Least squares of y on x with an intercept: slope over its standard error."""
    centre_x, centre_y = mean(x), mean(y)
    spread = math.fsum((a - centre_x) ** 2 for a in x)
    slope = math.fsum((a - centre_x) * (b - centre_y) for a, b in zip(x, y, strict=True)) / spread
    residuals = [b - centre_y - slope * (a - centre_x) for a, b in zip(x, y, strict=True)]
    variance = math.fsum(r * r for r in residuals) / (len(x) - 2)
    return slope / math.sqrt(variance / spread)
