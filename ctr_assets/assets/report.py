"""The page that people look at: figures, review checklist and audit cards of one sample."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from ctr_assets.assets import asset_settings, op_settings
from ctr_assets.assets.annotation import MAP_HASH
from ctr_assets.assets.inputs import sample_version
from ctr_assets.assets.results import require_same_sample
from ctr_assets.consistency import require_current
from ctr_assets.io_managers import ArrayFile
from ctr_assets.metadata import picture, step
from ctr_assets.outputs import Basis, Output, materialized
from ctr_assets.partitions import parse_key
from ctr_assets.resources import ProjectResource
from ctr_engine.analysis import decider_of
from ctr_engine.cluster_statistics import Statistics
from ctr_engine.clustering.umap import umap
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.io.samples import read_sample
from ctr_engine.markers.panel import resolve_map
from ctr_engine.positions import Kind, Positions, positions
from ctr_engine.profiles import AnalysisParams
from ctr_engine.reporting.pages import report_page
from ctr_engine.reporting.report import Report, report_figures
from ctr_engine.reporting.review import reviews

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report"
_LARGEST_PICTURE = 40_000


@dg.asset(
    io_manager_key="pages",
    **op_settings(),
    **asset_settings(names=True, kinds=("html", "matplotlib"), on_demand=True),
)
def report(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    pca: ArrayFile,
    knn_graph: ArrayFile,
    reference_values: pd.DataFrame,
    cluster_statistics: pd.DataFrame,
    de_lookup: pd.DataFrame,
    marker_scores: pd.DataFrame,
    marker_evidence: pd.DataFrame,
    decision_steps: pd.DataFrame,
    gating_details: pd.DataFrame,
    cluster_annotations: pd.DataFrame,
    annotations: pd.DataFrame,
    project: ProjectResource,
) -> dg.MaterializeResult:
    """One page with the figures, the review checklist and a card for each cluster."""
    with step("matplotlib, jinja2") as measured:
        folder, partition = project.open(), parse_key(context.partition_key)
        params = folder.params_for(partition)
        _, marker_map = require_current(context.instance, folder, partition)
        require_same_sample(context, sample_version(folder, partition))
        tables = {
            "cluster_statistics": cluster_statistics,
            "marker_scores": marker_scores,
            "marker_evidence": marker_evidence,
            "decision_steps": decision_steps,
            "gating_details": gating_details,
            "cluster_annotations": cluster_annotations,
            "annotations": annotations,
        }
        statistics = Statistics(reference_values, cluster_statistics)
        resolved = resolve_map(marker_map, stage_h_input.panel())
        decider = decider_of(statistics, de_lookup, marker_scores, resolved, params)
        found = Report(partition.key, tables, decider, params.report)
        places = positions(read_sample(folder.sample_path(partition)))
        places |= _layout(params, pca, knn_graph)
        figures = report_figures(tables, places)
        page = report_page(found, figures)
    to_review = [r for r in reviews(found.explanations, params.report) if r.findings]
    metadata = {
        MAP_HASH: marker_map.content_hash,
        "clusters_to_review": len(to_review),
        **_pictures(figures),
    }
    used = params.model_dump(mode="json", include={"report"})
    output = Output(page, figures["dot_plot"], measured, metadata)
    return materialized(context, output, Basis(used))


def _layout(params: AnalysisParams, pca: ArrayFile, knn_graph: ArrayFile) -> dict[Kind, Positions]:
    """Compute a UMAP where the project asks for one."""
    if not params.report.compute_umap:
        return {}
    seed = params.clustering.random_state
    return {"UMAP": umap(pca.read(), knn_graph.read_graph(), seed).astype("float64")}


def _pictures(figures: Mapping[str, Callable[[], "Figure"]]) -> dict[str, dg.MetadataValue]:
    """Show every figure on the page of the asset."""
    shown: dict[str, dg.MetadataValue] = {}
    for name, draw in figures.items():
        shown |= picture(draw, name, _LARGEST_PICTURE)
    return shown


ASSETS = [report]
