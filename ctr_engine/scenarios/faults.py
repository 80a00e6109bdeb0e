"""One function per scenario: it plants the fault and gives sample, faulty map and mended map.

The numbers were set by trial, so that a fault shows at the defaults and goes with its remedy;
``tests/test_scenarios.py`` holds them to that.
"""

import copy
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.scenarios.tissue import MapSource, Tissue, profile
from ctr_engine.simulate import TRUTH

if TYPE_CHECKING:
    from anndata import AnnData

Practice = tuple["AnnData", MapSource, MapSource | None]
"""Sample, map with the fault, and the mended map where the remedy is one."""

_EPITHELIUM = "Pan-CK E-cadherin EpCAM"
_IMMUNE = "Immune Cells / "
_DIM = 1.2
"""SD of what is added to a dim stain. Arcsinh units."""
_SPILT = 3.2
"""What the cells beside a vessel carry of its markers. SD of the tumour."""
_RING = 1.2
"""Mean level of a marker around the ring, above that of a negative cell. Arcsinh units."""


def missing_alias(n_cells: int, random_state: int) -> Practice:
    """Name the CD45 of the panel after its clone, as no table of names does."""
    tissue = Tissue()
    sample = tissue.sample(n_cells, random_state)
    sample.var_names = ["CD45_2D1" if name == "CD45" else name for name in sample.var_names]
    mended = {"_aliases": {"CD45": ["CD45_2D1"]}, **tissue.marker_map}
    return sample, tissue.marker_map, mended


def sparse_panel(n_cells: int, random_state: int) -> Practice:
    """Take a map for a larger panel: 3 of 7 and 3 of 8 markers of two roots are there."""
    tissue = Tissue()
    tissue.panel.extend(["CD43", "CD18"])
    for path, cell_type in tissue.profiles.items():
        if path.startswith(_IMMUNE):
            positive = (*cell_type.positive, "CD43", "CD18")
            tissue.profiles[path] = cell_type.model_copy(update={"positive": positive})
    longer = {
        "Epithelium": ["Cytokeratin 8", "Cytokeratin 18", "Claudin-4", "TROP2"],
        "Immune Cells": ["CD43", "CD18", "CD11a", "CD37", "CD48", "CD52", "CD53"],
    }
    for root, markers in longer.items():
        tissue.marker_map[root]["markers"].extend(markers)
    return tissue.sample(n_cells, random_state), tissue.marker_map, None


def stops_early(n_cells: int, random_state: int) -> Practice:
    """Give two siblings the same markers, but for one dim stain each."""
    tissue = Tissue()
    tissue.panel.extend(["MUC1", "TUBB3", "HE4", "FOXJ1", "PAX8"])
    own = {"Ciliated Epithelium": ("TUBB3", "FOXJ1"), "Secretory Epithelium": ("HE4", "PAX8")}
    del tissue.profiles["Epithelium"]
    for label, (dim, clear) in own.items():
        cell_type = profile(0.14, f"{_EPITHELIUM} MUC1 {clear}", f"CD44 {dim}")
        tissue.profiles[f"Epithelium / {label}"] = cell_type
    shared = ["E-cadherin", "EpCAM", "MUC1", "CD44"]
    faulty, mended = tissue.marker_map, copy.deepcopy(tissue.marker_map)
    for marker_map, last in ((faulty, 1), (mended, 2)):
        marker_map["Epithelium"]["subtypes"] = {
            label: {"markers": [*shared, *markers[:last]]} for label, markers in own.items()
        }
    sample = tissue.sample(n_cells, random_state)
    columns = [sample.var_names.get_loc(dim) for dim, _ in own.values()]
    noise = np.random.default_rng([random_state, 1]).normal(0, _DIM, (n_cells, len(columns)))
    sample.X[:, columns] = np.clip(sample.X[:, columns] + noise, 0, None)
    return sample, faulty, mended


def rare_type(n_cells: int, random_state: int) -> Practice:
    """Put in 1 % of regulatory T cells, too few for a cluster of their own."""
    tissue = Tissue()
    tissue.panel.extend(["FOXP3", "CD25", "CTLA-4", "CD127"])
    t_cells = f"{_IMMUNE}T Cells / "
    tissue.profiles[f"{t_cells}CD4 T Cells"] = profile(0.09, "CD45 CD3 CD4", "CD44")
    tissue.profiles[f"{t_cells}Regulatory T Cells"] = profile(
        0.012, "CD45 CD3 CD4 CD25 FOXP3", "CD44"
    )
    subtypes = tissue.marker_map["Immune Cells"]["subtypes"]["T Cells"]["subtypes"]
    subtypes["CD4 T Cells"]["anti_markers"] = ["CD8", "FOXP3"]
    subtypes["Regulatory T Cells"] = {"markers": ["FOXP3", "CD25"], "anti_markers": ["CD8"]}
    return tissue.sample(n_cells, random_state), tissue.marker_map, None


def no_anti_markers(n_cells: int, random_state: int) -> Practice:
    """Leave out all anti-markers, where two types share the markers of two others."""
    tissue = _look_alikes()
    faulty = {
        key: value if key.startswith("_") else _without_anti_markers(value)
        for key, value in tissue.marker_map.items()
    }
    return tissue.sample(n_cells, random_state), faulty, tissue.marker_map


def weak_anti_markers(n_cells: int, random_state: int) -> Practice:
    """Give the type that is wrongly called one good anti-marker, and one that is never there."""
    tissue = _look_alikes()
    faulty = copy.deepcopy(tissue.marker_map)
    cytotoxic = faulty["Immune Cells"]["subtypes"]["Cytotoxic T Cells"]
    cytotoxic["anti_markers"] = ["Pan-CK", "CD16"]
    return tissue.sample(n_cells, random_state), faulty, tissue.marker_map


def _look_alikes() -> Tissue:
    """NK cells with the enzymes of cytotoxic T cells; macrophages with vimentin, as stroma has."""
    tissue = Tissue()
    tissue.panel.extend(["CD43", "CD56", "CD16", "CD57", "GZMB", "Perforin"])
    for path in ("T Cells / CD4 T Cells", "T Cells / CD8 T Cells"):
        del tissue.profiles[_IMMUNE + path]
    cell_types = {
        "Helper T Cells": profile(0.11, "CD45 CD43 CD3 CD4", "CD44"),
        "Cytotoxic T Cells": profile(0.09, "CD45 CD43 CD3 CD8", "GZMB Perforin"),
        "NK Cells": profile(0.05, "CD45 CD43 GZMB Perforin", "CD56 CD16 CD8"),
        "Macrophages": profile(0.08, "CD45 CD68 CD163 HLA-DR Vimentin", "CD4 CD44"),
    }
    tissue.profiles.update({_IMMUNE + label: found for label, found in cell_types.items()})
    stroma, immune = tissue.marker_map["Stromal Cells"], tissue.marker_map["Immune Cells"]
    stroma["markers"], immune["markers"] = ["Vimentin"], ["CD45", "CD43"]
    stroma["anti_markers"] = ["Pan-CK", "CD45", "CD31", "CD68"]
    del immune["subtypes"]["T Cells"]
    immune["subtypes"] |= {
        "Helper T Cells": {"markers": ["CD3", "CD4"], "anti_markers": ["CD8", "CD68"]},
        "Cytotoxic T Cells": {
            "markers": ["CD8", "GZMB", "Perforin"],
            "anti_markers": ["CD56", "CD16"],
        },
        "NK Cells": {"markers": ["CD56", "CD16", "CD57"], "anti_markers": ["CD3"]},
    }
    return tissue


def _without_anti_markers(node: MapSource) -> MapSource:
    """Copy of a cell type and of all below it, without anti-markers."""
    kept = {key: value for key, value in node.items() if key != "anti_markers"}
    if "subtypes" in kept:
        below = kept["subtypes"].items()
        kept["subtypes"] = {label: _without_anti_markers(child) for label, child in below}
    return kept


def refines_too_much(n_cells: int, random_state: int) -> Practice:
    """Give a tumour markers that the map lacks, and a quarter of it those of vessels beside it.

    The tumour is one type all the same. Helper and cytotoxic T cells, which a low resolution does
    not tell apart, are two.
    """
    tissue, own = _clear_cut(0.33, 0.14), ["CK7", "CK20", "CEA"]
    tissue.panel.extend(own)
    tissue.profiles["Epithelium"] = profile(0.33, " ".join(own), "Pan-CK")
    del tissue.profiles[f"{_IMMUNE}B Cells"]
    mended = copy.deepcopy(tissue.marker_map)
    mended["Epithelium"]["markers"] = ["Pan-CK", *own]
    sample = tissue.sample(n_cells, random_state)
    tumour = np.flatnonzero((sample.obs[TRUTH] == "Epithelium").to_numpy())
    vessel = [sample.var_names.get_loc(marker) for marker in ("CD31", "CD34")]
    spilt = _SPILT * sample.X[np.ix_(tumour, vessel)].std(axis=0)
    mixed = np.random.default_rng([random_state, 1]).permutation(tumour)[: len(tumour) // 4]
    sample.X[np.ix_(mixed, vessel)] += spilt
    return sample, tissue.marker_map, mended


def refines_too_little(n_cells: int, random_state: int) -> Practice:
    """Make two pairs of types that a low resolution joins, in clusters of fewer than 500 cells.

    The T cells stop at their parent; the plasma cells go by the name of the B cells.
    """
    tissue = _clear_cut(0.28, 0.10)
    tissue.panel.extend(["CD79a", "CD38"])
    tissue.profiles[f"{_IMMUNE}B Cells"] = profile(0.08, "CD45 CD79a CD20 HLA-DR")
    tissue.profiles[f"{_IMMUNE}Plasma Cells"] = profile(0.06, "CD45 CD79a CD38", "HLA-DR")
    immune = tissue.marker_map["Immune Cells"]["subtypes"]
    immune["B Cells"]["markers"].append("HLA-DR")
    immune["Plasma Cells"] = {"markers": ["CD38"], "anti_markers": ["CD3", "CD20"]}
    return tissue.sample(n_cells, random_state), tissue.marker_map, None


def _clear_cut(epithelium: float, t_cells: float) -> Tissue:
    """Cell types that even a low resolution tells apart, all but the two of the T cells."""
    tissue = Tissue()
    cell_types = {
        "Epithelium": profile(epithelium, _EPITHELIUM, "CD44"),
        "Endothelium": profile(0.09, "CD31 CD34"),
        "Stromal Cells / Fibroblasts": profile(0.13, "Vimentin PDGFRB CD44"),
        "Stromal Cells / Smooth Muscle": profile(0.07, "aSMA Desmin Vimentin"),
        f"{_IMMUNE}T Cells / CD4 T Cells": profile(t_cells, "CD45 CD3 CD4"),
        f"{_IMMUNE}T Cells / CD8 T Cells": profile(t_cells, "CD45 CD3 CD8"),
        f"{_IMMUNE}Macrophages": profile(0.10, "CD45 CD68 CD163 HLA-DR", "CD4"),
    }
    tissue.profiles.update(cell_types)
    return tissue


def unstable_clusters(n_cells: int, random_state: int) -> Practice:
    """Spread the epithelium evenly over the cell cycle, a ring without natural cuts."""
    tissue = Tissue()
    phases = {
        "G1 Epithelium": {"markers": ["CyclinD1", "CDT1"]},
        "S Epithelium": {"markers": ["CyclinE", "PCNA"]},
        "G2-M Epithelium": {"markers": ["CyclinA", "CyclinB1"]},
    }
    ring = [marker for phase in phases.values() for marker in phase["markers"]]
    tissue.panel.extend(ring)
    tissue.profiles["Epithelium"] = profile(0.6, _EPITHELIUM, "CD44")
    tissue.marker_map["Epithelium"]["subtypes"] = phases
    sample = tissue.sample(n_cells, random_state)
    truth = sample.obs[TRUTH].astype(str).to_numpy(dtype=object)
    cycling = np.flatnonzero(truth == "Epithelium")
    step = 2 * np.pi / len(ring)
    angle = np.random.default_rng([random_state, 1]).uniform(0, 2 * np.pi, len(cycling))
    height: npt.NDArray[np.float64] = 1 + np.cos(angle[:, None] - step * np.arange(len(ring)))
    columns = [sample.var_names.get_loc(marker) for marker in ring]
    sample.X[np.ix_(cycling, columns)] += (_RING * height).astype(np.float32)
    # a phase spans its two peaks and half the way to those beside them
    phase = ((angle + step / 2) % (2 * np.pi) // (2 * step)).astype(int)
    paths = np.array([f"Epithelium / {label}" for label in phases], dtype=object)
    truth[cycling] = paths[phase]
    sample.obs[TRUTH] = pd.Categorical(truth)
    return sample, tissue.marker_map, None


def wrong_tissue(n_cells: int, random_state: int) -> Practice:
    """Use a map of the gut on breast, where an epithelium contracts as smooth muscle does."""
    tissue = Tissue()
    tissue.panel.extend(["CK8", "CK14", "p63", "Calponin", "CD10"])
    for path in ("Epithelium", "Stromal Cells / Fibroblasts", "Stromal Cells / Smooth Muscle"):
        del tissue.profiles[path]
    cell_types = {
        "Epithelium / Luminal Cells": profile(0.24, f"{_EPITHELIUM} CK8", "CD44"),
        "Epithelium / Myoepithelial Cells": profile(
            0.12, "aSMA Calponin CK14 p63 CD10 Pan-CK", "E-cadherin CD44 Vimentin"
        ),
        "Fibroblasts": profile(0.15, "Vimentin PDGFRB", "CD44 CD34"),
        "Smooth Muscle": profile(0.07, "aSMA Desmin Calponin Vimentin", "PDGFRB"),
    }
    tissue.profiles.update(cell_types)
    faulty = tissue.marker_map
    del faulty["Stromal Cells"]
    faulty["Epithelium"] |= {
        "markers": ["E-cadherin", "EpCAM", "CK8"],
        "subtypes": {"Luminal Cells": {"markers": ["CK8", "EpCAM"]}},
    }
    foreign = ["EpCAM", "CD45", "CD31"]
    faulty["Smooth Muscle"] = {"markers": ["aSMA", "Calponin"], "anti_markers": foreign}
    faulty["Fibroblasts"] = {"markers": ["Vimentin", "PDGFRB"], "anti_markers": foreign}
    mended = copy.deepcopy(faulty)
    mended["Epithelium"] |= {
        "markers": ["Pan-CK", "E-cadherin"],
        "subtypes": {
            "Luminal Cells": {"markers": ["CK8", "EpCAM"], "anti_markers": ["p63"]},
            "Myoepithelial Cells": {"markers": ["CK14", "p63", "CD10"], "anti_markers": ["CK8"]},
        },
    }
    mended["Smooth Muscle"] = {
        "markers": ["aSMA", "Calponin", "Desmin"],
        "anti_markers": ["CD45", "CD31", "p63", "CK14"],
    }
    return tissue.sample(n_cells, random_state), faulty, mended
