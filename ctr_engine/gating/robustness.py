"""How much of a label hangs on the exact thresholds."""

import numpy as np
import numpy.typing as npt

from ctr_engine.gating.decider import Decider

N_SETTINGS, SPREAD, SEED = 100, 0.2, 20_200
"""Settings that are tried, how far each threshold moves in them, and their seed."""


def robustness(decider: Decider) -> npt.NDArray[np.float64]:
    """Share of settings near the thresholds that keep the label of each cluster.

    In each of :data:`N_SETTINGS` settings every threshold of a gate, every gap and every threshold
    of a root rule is multiplied by its own factor from U(0.8, 1.2) and kept in its range. The
    settings are the same for all clusters; a threshold of 0 stays.

    Returns
    -------
    Shape ``(n_clusters,)``, 0 to 1.
    """
    current = decider.settings
    random = np.random.default_rng(SEED)
    factors = random.uniform(1 - SPREAD, 1 + SPREAD, (N_SETTINGS, len(current)))
    low = np.array([knob.low for knob in decider.knobs])
    high = np.array([knob.high for knob in decider.knobs])
    settings = np.clip(current * factors, low, high)
    kept = decider.under_all(settings).place == decider.outcomes.place
    return np.asarray(kept.mean(axis=0))
