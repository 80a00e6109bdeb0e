"""Simulated tissue: what is where, and that a seed is a seed."""

import numpy as np
import pytest
from pydantic import ValidationError

from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.simulate import TRUTH, CellProfile, SimulationParams, simulate_sample

PANEL = ("DAPI", "CD45", "CD3", "PanCK", "Ki67")
PROFILES = {
    "Immune / T": CellProfile(fraction=0.6, positive=("CD45", "CD3"), weak=("Ki67",)),
    "Epithelium": CellProfile(fraction=0.2, positive=("PanCK",)),
}
CLEAN = {"noise": 0.0, "spill_over": 0.0, "gain_sd": 0.0}


def simulate(**params):
    return simulate_sample(PANEL, PROFILES, SimulationParams(**params))


def test_without_noise_each_type_has_its_levels():
    sample = simulate(n_cells=50, **CLEAN)
    levels = {
        path: np.unique(sample.X[sample.obs[TRUTH] == path], axis=0).tolist() for path in PROFILES
    }
    low = float(np.float32(0.6))
    assert levels == {
        "Immune / T": [[3, 3, 3, low, 1.5]],
        "Epithelium": [[3, low, low, 3, low]],
    }


def test_markers_expressed_everywhere_are_an_option():
    params = SimulationParams(n_cells=20, **CLEAN)
    sample = simulate_sample(PANEL, PROFILES, params, everywhere=("Ki67",))
    assert set(sample.X[:, PANEL.index("Ki67")].tolist()) == {3}
    assert set(sample.X[:, PANEL.index("DAPI")].tolist()) == {float(np.float32(0.6))}


def test_fractions_are_brought_to_a_sum_of_one():
    truth = simulate(n_cells=4_000).obs[TRUTH]
    # Expected 0.75; three standard deviations of a binomial share are 0.021.
    assert (truth == "Immune / T").mean() == pytest.approx(0.75, abs=0.021)


def test_a_sample_has_the_declared_form_and_stage_h_can_read_it():
    sample = simulate(n_cells=30)
    assert sample.shape == (30, 5)
    assert sample.X.dtype == np.float32
    assert sample.X.min() >= 0
    assert sample.var_names.tolist() == list(PANEL)
    assert sample.obsm["spatial"].shape == (30, 2)
    assert 0 <= sample.obsm["spatial"].min() <= sample.obsm["spatial"].max() <= 1_000
    assert sample.obs_names.is_unique
    assert read_expression(sample, ExpressionParams()).panel.technical == ("DAPI",)


def test_one_seed_gives_one_sample_and_another_seed_another():
    first, again, other = (simulate(n_cells=30, random_state=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.X, again.X)
    assert np.array_equal(first.obsm["spatial"], again.obsm["spatial"])
    assert first.obs[TRUTH].tolist() == again.obs[TRUTH].tolist()
    assert not np.array_equal(first.X, other.X)


def test_the_order_of_the_profiles_does_not_matter():
    params = SimulationParams(n_cells=30)
    turned = simulate_sample(PANEL, dict(reversed(PROFILES.items())), params)
    assert np.array_equal(turned.X, simulate(n_cells=30).X)


def test_noise_is_the_deviation_within_a_type():
    sample = simulate(n_cells=5_000, **CLEAN | {"noise": 0.25})
    of_type = (sample.obs[TRUTH] == "Immune / T").to_numpy()
    inside = sample.X[of_type, PANEL.index("CD3")].astype(float)
    # The standard error of the deviation is 0.25 / sqrt(2 * 3,750) = 0.003.
    assert inside.std() == pytest.approx(0.25, abs=0.01)


def test_all_of_a_cells_signal_can_come_from_its_four_nearest_neighbours():
    clean = simulate(n_cells=40, **CLEAN)
    blurred = simulate(n_cells=40, **CLEAN | {"spill_over": 1.0})
    half = simulate(n_cells=40, **CLEAN | {"spill_over": 0.5})
    position = clean.obsm["spatial"]
    for cell in range(40):
        distance = ((position - position[cell]) ** 2).sum(axis=1)
        distance[cell] = np.inf
        around = clean.X[np.argsort(distance)[:4]].mean(axis=0)
        assert blurred.X[cell] == pytest.approx(around, abs=1e-5)
        assert half.X[cell] == pytest.approx((clean.X[cell] + around) / 2, abs=1e-5)


def test_a_gain_is_one_factor_per_marker():
    clean, scaled = simulate(n_cells=30, **CLEAN), simulate(n_cells=30, **CLEAN | {"gain_sd": 0.5})
    ratio = scaled.X / clean.X
    assert np.ptp(ratio, axis=0) == pytest.approx(0, abs=1e-5)
    assert len(np.unique(ratio[0].round(4))) == len(PANEL)


def test_three_cells_are_enough():
    assert simulate(n_cells=3).shape == (3, 5)


@pytest.mark.parametrize("where", ["positive", "weak"])
def test_a_marker_that_is_not_on_the_panel_is_an_error(where):
    profile = CellProfile(**{"fraction": 1.0, "positive": ("CD3",), where: ("CD8", "CD4")})
    with pytest.raises(ValueError, match=r"markers that are not on the panel: \['CD4', 'CD8'\]"):
        simulate_sample(PANEL, {"T": profile}, SimulationParams(n_cells=3))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_cells": 2}, "greater than or equal to 3"),
        ({"noise": -0.1}, "greater than or equal to 0"),
        ({"spill_over": 1.1}, "less than or equal to 1"),
        ({"gain_sd": -0.1}, "greater than or equal to 0"),
        ({"random_state": -1}, "greater than or equal to 0"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        SimulationParams(**params)


def test_fractions_that_are_all_zero_are_refused():
    nobody = {"A": CellProfile(fraction=0, positive=("x",))}
    with pytest.raises(ValueError, match="no cell type has a fraction above 0"):
        simulate_sample(("x", "y"), nobody, SimulationParams(n_cells=5))
