"""What a report is made of, for the command line and for the asset graph alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import pandas as pd

from ctr_engine.gating.decider import Decider
from ctr_engine.positions import Kind, Positions
from ctr_engine.profiles import ReportParams
from ctr_engine.reporting import label_figures, marker_figures
from ctr_engine.reporting import report_figures as cluster_figures
from ctr_engine.reporting.drawing import told_apart
from ctr_engine.reporting.explain import Explanation, explain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = {
    "cluster_sizes": "Cells of each cluster, with its label",
    "confidence": "Confidence: the smallest lead on the way to the label",
    "depth": "How deep the labels lie in the map",
    "stop_reasons": "Why the walks ended",
    "root_composition": "What each root consists of",
    "marker_coverage": "Markers that the panel has, and share of them that is on",
    "dot_plot": "Markers by label",
    "spatial_labels": "Labels in the tissue",
    "umap_labels": "Labels on the UMAP",
}
"""Name of each figure, as its file is called, and what it shows."""


@dataclass(frozen=True)
class Report:
    """One annotated sample, ready to be shown; ``name`` is that of the sample."""

    name: str
    tables: Mapping[str, pd.DataFrame]
    decider: Decider
    params: ReportParams

    @cached_property
    def explanations(self) -> tuple[Explanation, ...]:
        """The whole reason of each cluster, in natural order."""
        ids = self.decider.cluster_ids
        return tuple(explain(self.tables, self.decider, cluster_id) for cluster_id in ids)


def _names(cells: pd.DataFrame) -> pd.Series:
    """Label of each cell, with its branch where two branches have the same label."""
    kinds = cells.drop_duplicates("cell_type_auto_path")
    labels = dict(zip(kinds["cell_type_auto_path"], kinds["cell_type_auto"], strict=True))
    return cells["cell_type_auto_path"].map(told_apart(labels))


def report_figures(
    tables: Mapping[str, pd.DataFrame], places: Mapping[Kind, Positions]
) -> dict[str, Callable[[], "Figure"]]:
    """Give the figures of a run by name, each drawn when it is called.

    Parameters
    ----------
    places
        Coordinates of the cells by kind, ``spatial`` or ``UMAP``.
    """
    annotated = tables["cluster_annotations"]
    evidence, statistics = tables["marker_evidence"], tables["cluster_statistics"]
    figures: dict[str, Callable[[], Figure]] = {
        "cluster_sizes": partial(cluster_figures.cluster_sizes, annotated),
        "confidence": partial(cluster_figures.confidence, annotated),
        "depth": partial(cluster_figures.depth, annotated),
        "stop_reasons": partial(cluster_figures.stop_reasons, annotated),
        "root_composition": partial(label_figures.root_composition, annotated),
        "marker_coverage": partial(marker_figures.marker_coverage, tables["marker_scores"]),
        "dot_plot": partial(marker_figures.dot_plot, annotated, evidence, statistics),
    }
    labels = _names(tables["annotations"])
    names: dict[Kind, str] = {"spatial": "spatial_labels", "UMAP": "umap_labels"}
    for kind, name in names.items():
        if kind in places:
            figures[name] = partial(label_figures.label_map, places[kind], labels, kind)
    return figures
