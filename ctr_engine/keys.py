"""Every name that this project writes into an AnnData or reads from one."""

from typing import Final

STAGE_H_LAYER: Final = "stage_h_input"

CLUSTER: Final = "cluster_lvl0"
CELL_TYPE: Final = "cell_type_auto"
CELL_TYPE_ROOT: Final = "cell_type_auto_root"
CELL_TYPE_CONFIDENCE: Final = "cell_type_auto_conf"
CELL_TYPE_PATH: Final = "cell_type_auto_path"
CELL_TYPE_SUPPORT: Final = "cell_type_auto_support"
CELL_TYPE_CELL: Final = "cell_type_cell"
CELL_TYPE_CELL_PATH: Final = "cell_type_cell_path"
CELL_TYPE_CELL_BY: Final = "cell_type_cell_by"

CLUSTER_LVL1: Final = "cluster_lvl1"
CELL_TYPE_LVL0: Final = "cell_type_lvl0"
CELL_TYPE_LVL1: Final = "cell_type_lvl1"
CLUSTER_ITERATION: Final = "cluster_iteration_"
REFINEMENT_ACTION: Final = "refinement_action"
REFINEMENT_ITERATION: Final = "refinement_iteration"

CONSENSUS_CLUSTER: Final = "consensus_cluster"
CONSENSUS_STABILITY: Final = "consensus_stability"
CELL_TYPE_CONSENSUS: Final = "cell_type_consensus"
CELL_TYPE_CONSENSUS_PATH: Final = "cell_type_consensus_path"
LABEL_STABILITY: Final = "label_stability"

PCA: Final = "X_pca"
UMAP: Final = "X_umap"
SPATIAL: Final = "spatial"

UNS_PARAMS: Final = "stage_h_params"
UNS_GATING_PARAMS: Final = "stage_h_gating_params"
UNS_MARKER_MAP: Final = "stage_h_marker_map"
UNS_ITERATION: Final = "stage_refine_iteration_"

LAYER_PRIORITY: Final = ("batchcorr", "aligned")
"""Layers that ``auto`` takes when they exist, best first; then ``X``."""

X_LAYER: Final = "X"
PATH_SEPARATOR: Final = " / "
ROOT_SEPARATOR: Final = "~"
UNASSIGNED: Final = "Unassigned"
UNCERTAIN: Final = "Uncertain"

OF_CLUSTER: Final = "cluster"
OWN_MARKERS: Final = "own_markers"
SURE_CELLS: Final = "sure_cells"
GIVEN_BY: Final = (OF_CLUSTER, OWN_MARKERS, SURE_CELLS)
"""What gave a cell its own label."""


CATEGORIES_OF_STAGE_H: Final = (
    CELL_TYPE,
    CELL_TYPE_ROOT,
    CELL_TYPE_PATH,
    CELL_TYPE_CELL,
    CELL_TYPE_CELL_PATH,
    CELL_TYPE_CELL_BY,
)
OBS_OF_STAGE_H: Final = (
    CLUSTER,
    *CATEGORIES_OF_STAGE_H,
    CELL_TYPE_CONFIDENCE,
    CELL_TYPE_SUPPORT,
)
OBS_OF_REFINEMENT: Final = (
    CLUSTER_LVL1,
    CELL_TYPE_LVL0,
    CELL_TYPE_LVL1,
    REFINEMENT_ACTION,
    REFINEMENT_ITERATION,
)
UNS_OF_STAGE_H: Final = (UNS_PARAMS, UNS_GATING_PARAMS, UNS_MARKER_MAP)
_DE_PREFIX: Final = "de_wilcoxon_"


def is_de_key(name: str) -> bool:
    """Whether an ``uns`` entry holds Wilcoxon results of ours."""
    return name.startswith(_DE_PREFIX)


def de_key(layer: str) -> str:
    """Name of the ``uns`` entry with the Wilcoxon results on values that came from ``layer``."""
    return _DE_PREFIX + layer.replace("/", "_")


def cluster_key(number: int) -> str:
    """Name of the ``obs`` column with the clusters after an iteration; 0 is Stage H."""
    return f"{CLUSTER_ITERATION}{number}"


def iteration_key(number: int) -> str:
    """Name of the ``uns`` entry of an iteration, from 1."""
    return f"{UNS_ITERATION}{number}"
