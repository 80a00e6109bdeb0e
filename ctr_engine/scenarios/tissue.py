"""The tissue that each scenario starts from: its panel, its cell types, and a map that names them.

No fault stands here; those are planted in :mod:`ctr_engine.scenarios.faults`.
"""

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctr_engine.simulate import CellProfile, SimulationParams, simulate_sample

if TYPE_CHECKING:
    from anndata import AnnData

MapSource = dict[str, Any]
"""Content of the JSON file of a marker map."""

_NOISE, _SPILL_OVER = 0.7, 0.15

_PANEL = (
    "DAPI CD45 CD3 CD4 CD8 CD20 CD68 CD163 HLA-DR Pan-CK E-cadherin EpCAM CD31 CD34 Vimentin "
    "PDGFRB aSMA Desmin CD44 Ki67"
)

_PROFILES = {
    "Epithelium": (0.28, "Pan-CK E-cadherin EpCAM", "CD44"),
    "Endothelium": (0.09, "CD31 CD34", "Vimentin"),
    "Stromal Cells / Fibroblasts": (0.15, "Vimentin PDGFRB", "CD44 CD34"),
    "Stromal Cells / Smooth Muscle": (0.10, "aSMA Desmin Vimentin PDGFRB", ""),
    "Immune Cells / T Cells / CD4 T Cells": (0.12, "CD45 CD3 CD4", "CD44"),
    "Immune Cells / T Cells / CD8 T Cells": (0.10, "CD45 CD3 CD8", ""),
    "Immune Cells / B Cells": (0.07, "CD45 CD20 HLA-DR", ""),
    "Immune Cells / Macrophages": (0.09, "CD45 CD68 CD163 HLA-DR", "CD4 Vimentin"),
}

_MARKER_MAP: MapSource = {
    "_gating_params": {
        "root_hard_requirements": {
            "Immune Cells": {"marker": "CD45", "min_pos_frac": 0.3, "min_enrichment": 0.0}
        }
    },
    "Epithelium": {
        "markers": ["Pan-CK", "E-cadherin", "EpCAM"],
        "anti_markers": ["CD45", "CD31"],
    },
    "Endothelium": {"markers": ["CD31", "CD34"], "anti_markers": ["Pan-CK", "CD45"]},
    "Stromal Cells": {
        "markers": ["Vimentin", "PDGFRB"],
        "anti_markers": ["Pan-CK", "CD45", "CD31"],
        "subtypes": {
            "Fibroblasts": {"markers": ["PDGFRB", "CD44"], "anti_markers": ["aSMA", "Desmin"]},
            "Smooth Muscle": {"markers": ["aSMA", "Desmin"]},
        },
    },
    "Immune Cells": {
        "markers": ["CD45"],
        "anti_markers": ["Pan-CK", "E-cadherin"],
        "subtypes": {
            "T Cells": {
                "markers": ["CD3"],
                "anti_markers": ["CD20", "CD68"],
                "subtypes": {
                    "CD4 T Cells": {"markers": ["CD4"], "anti_markers": ["CD8"]},
                    "CD8 T Cells": {"markers": ["CD8"], "anti_markers": ["CD4"]},
                },
            },
            "B Cells": {"markers": ["CD20"], "anti_markers": ["CD3", "CD68"]},
            "Macrophages": {
                "markers": ["CD68", "CD163", "HLA-DR"],
                "anti_markers": ["CD3", "CD20"],
            },
        },
    },
}


def profile(fraction: float, positive: str, weak: str = "") -> CellProfile:
    """Make a profile from names of markers with spaces between them."""
    return CellProfile(fraction=fraction, positive=(*positive.split(),), weak=(*weak.split(),))


@dataclass(frozen=True)
class Tissue:
    """Panel, cell types and map; each instance has copies of its own, for a fault to change."""

    panel: list[str] = field(default_factory=_PANEL.split)
    profiles: dict[str, CellProfile] = field(
        default_factory=lambda: {path: profile(*given) for path, given in _PROFILES.items()}
    )
    marker_map: MapSource = field(default_factory=lambda: copy.deepcopy(_MARKER_MAP))

    def sample(self, n_cells: int, random_state: int) -> "AnnData":
        """Simulate a sample."""
        params = SimulationParams(
            n_cells=n_cells, noise=_NOISE, spill_over=_SPILL_OVER, random_state=random_state
        )
        return simulate_sample((*self.panel,), self.profiles, params)
