"""The list of scenarios: what is planted, how it shows, and what mends it."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ctr_engine.errors import ParameterError
from ctr_engine.scenarios import faults
from ctr_engine.scenarios.tissue import MapSource

if TYPE_CHECKING:
    from anndata import AnnData

N_CELLS = 2_000
FEWEST_CELLS = 1_000


@dataclass(frozen=True)
class Scenario:
    """A practice sample with a planted fault; ``number`` is its place in ``docs/tuning.md``.

    ``flags`` are what ``ctr annotate`` needs for the fault to show.
    """

    name: str
    number: str
    title: str
    planted: str
    symptom: str
    remedy: str
    make: Callable[[int, int], faults.Practice]
    flags: str = ""


_COARSE = " --resolution 0.08 --skip-refinement"

_ALL = (
    Scenario(
        "missing-alias",
        "1",
        "Many cells are Unassigned: a name",
        "The panel calls CD45 by the name of its clone, CD45_2D1, which nothing translates.",
        "All immune cells are Unassigned: their root asks for a marker that is not found.",
        "An entry in _aliases of the marker map.",
        faults.missing_alias,
    ),
    Scenario(
        "sparse-panel",
        "1",
        "Many cells are Unassigned: a small panel",
        "The map was written for a larger panel; this one has 3 of the 7 markers of Epithelium "
        "and 3 of the 8 of Immune Cells.",
        "Both roots fail low_coverage, and two thirds of the cells are Unassigned.",
        "A lower min_coverage at level 0.",
        faults.sparse_panel,
    ),
    Scenario(
        "stops-early",
        "2",
        "Labels stop at the parent: siblings too close",
        "Ciliated and secretory epithelium have the same markers in the map, but for one dim "
        "stain each.",
        "Epithelial clusters end as Epithelium, with ambiguous_siblings.",
        "A lower min_gap at level 1, or clear markers in the map.",
        faults.stops_early,
    ),
    Scenario(
        "rare-type",
        "2",
        "A rare type is missing: it shares a cluster",
        "1 % of the cells are regulatory T cells.",
        "They share a cluster with the CD4 T cells, and its label.",
        "A higher resolution.",
        faults.rare_type,
    ),
    Scenario(
        "no-anti-markers",
        "3",
        "Wrong labels: nothing speaks against them",
        "The map has no anti-markers. NK cells have the enzymes of cytotoxic T cells, macrophages "
        "the vimentin of stroma.",
        "NK cells are called Cytotoxic T Cells, macrophages Fibroblasts, both with confidence.",
        "Anti-markers in the map; for a root also a veto.",
        faults.no_anti_markers,
    ),
    Scenario(
        "weak-anti-markers",
        "3",
        "Wrong labels: the anti-markers are too weak",
        "Of two anti-markers of Cytotoxic T Cells, one is never on an immune cell, and the mean of "
        "both lets NK cells through.",
        "NK cells are called Cytotoxic T Cells.",
        "anti_agg max, or a higher anti_weight.",
        faults.weak_anti_markers,
    ),
    Scenario(
        "refines-too-much",
        "4",
        "Refinement divides what is whole",
        "The tumour has lost markers of the map, so its score is low; a quarter of its cells "
        "carry CD31 and CD34 of the vessels beside them.",
        "At --resolution 0.08, refinement divides the tumour and calls a part of it Endothelium.",
        "A lower score_threshold and weak_leaf_score, or a map with the markers that it has.",
        faults.refines_too_much,
        _COARSE,
    ),
    Scenario(
        "refines-too-little",
        "5",
        "Refinement leaves together what is mixed",
        "Two pairs of types are alike: CD4 and CD8 T cells, and B and plasma cells, each pair "
        "of fewer than 500 cells.",
        "At --resolution 0.08 each pair shares a cluster, and refinement divides neither: one is "
        "too_small, the other has a high score.",
        "A lower min_cells, and for the second a higher score_threshold.",
        faults.refines_too_little,
        _COARSE,
    ),
    Scenario(
        "unstable-clusters",
        "6",
        "Two runs differ: there are no natural clusters",
        "The epithelium is spread evenly over the cell cycle, a ring without natural cuts.",
        "Another --random-seed cuts the ring elsewhere, and labels move.",
        "Keep the clusters of one run: --annotation-only.",
        faults.unstable_clusters,
    ),
    Scenario(
        "wrong-tissue",
        "7",
        "Confident and wrong: a map of another tissue",
        "The map knows the gut, the sample is breast: myoepithelium has the aSMA and the calponin "
        "of smooth muscle.",
        "Myoepithelial cells are called Smooth Muscle, with more confidence than the real ones.",
        "A map of this tissue.",
        faults.wrong_tissue,
    ),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def find_scenario(name: str) -> Scenario:
    """Look a scenario up.

    Raises
    ------
    ParameterError
        If there is none of this name.
    """
    if name not in SCENARIOS:
        near = get_close_matches(name, SCENARIOS, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"There is no scenario {name!r}.{hint} Known: {', '.join(SCENARIOS)}."
        raise ParameterError(msg)
    return SCENARIOS[name]


def make_scenario(
    name: str, n_cells: int = N_CELLS, random_state: int = 0
) -> tuple["AnnData", MapSource, MapSource | None]:
    """Make the sample and the marker maps of a scenario.

    Parameters
    ----------
    name
        A key of :data:`SCENARIOS`.
    n_cells
        Cells; the faults were tuned on 2,000.
    random_state
        Seed; the same one gives the same sample.

    Returns
    -------
    The sample, with the true path of each cell in ``obs["cell_type"]`` and its position in
    ``obsm["spatial"]``; the content of the faulty marker map; and that of the mended one, or None
    where the remedy is a parameter.

    Raises
    ------
    ParameterError
        If there is no such scenario, or the cells are too few for its fault to show.
    """
    scenario = find_scenario(name)
    if n_cells < FEWEST_CELLS:
        msg = f"{n_cells} cells are too few for the fault to show; take at least {FEWEST_CELLS:,}"
        raise ParameterError(msg)
    return scenario.make(n_cells, random_state)
