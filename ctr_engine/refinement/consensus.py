"""Labels of a consensus, and how many of the runs that it is made of give the same ones."""

from collections.abc import Callable, Sequence

import pandas as pd

from ctr_engine import keys
from ctr_engine.analysis import annotate
from ctr_engine.expression import ExpressionView
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.profiles import AnalysisParams, ReportParams
from ctr_engine.splitmerge.cells.consensus import Consensus, share_of_runs
from ctr_engine.tables import ConsensusLabels, frame


def consensus_labels(
    found: Consensus,
    runs: Sequence[Sequence[str]],
    view: ExpressionView,
    marker_map: MarkerMap,
    params: AnalysisParams,
    *,
    n_jobs: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> pd.DataFrame:
    """Annotate the consensus and each of its runs.

    Where a cluster is named wrongly its cells are as stable as any; where runs give it other names
    the label itself is in doubt. So the share of runs that agree on the *label* says more of
    whether it is right than the share that agree on the cluster.

    Parameters
    ----------
    runs
        Cluster of each cell in each run.

    Returns
    -------
    One row per cell. ``label_stability`` is the share of runs, 0 to 1, in which its cluster has
    the same label.
    """
    total = len(runs) + 1
    progress(0, total)
    final = _labels(found.clusters.tolist(), view, marker_map, params, n_jobs)
    paths = []
    for done, run in enumerate(runs, start=1):
        progress(done, total)
        paths.append(_labels(run, view, marker_map, params, n_jobs)[keys.CELL_TYPE_PATH].tolist())
    columns = {
        "cell_id": view.cell_ids,
        keys.CELL_TYPE_CONSENSUS: final[keys.CELL_TYPE].to_numpy(object),
        keys.CELL_TYPE_CONSENSUS_PATH: final[keys.CELL_TYPE_PATH].to_numpy(object),
        keys.LABEL_STABILITY: share_of_runs(paths, final[keys.CELL_TYPE_PATH].tolist()),
    }
    return frame(ConsensusLabels, columns)


def _labels(
    clusters: Sequence[str],
    view: ExpressionView,
    marker_map: MarkerMap,
    params: AnalysisParams,
    n_jobs: int,
) -> pd.DataFrame:
    """Label of each cell under one clustering: that of its cluster."""
    shown = params.model_copy(update={"report": ReportParams()})  # nobody looks at these
    result = annotate(view, marker_map, shown, clusters=[str(c) for c in clusters], n_jobs=n_jobs)
    return result.tables["annotations"]
