"""Commands that need the graph; imported by the command line when one of them is called."""

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import dagster as dg

from ctr_assets import demo as demo_project
from ctr_assets.jobs import ANNOTATE_PARTITION
from ctr_assets.partitions import Partition
from ctr_assets.project import PROJECT_VARIABLE, Project, load_project
from ctr_assets.runs import Outcome, n_steps, project_instance, register, run_job
from ctr_engine.cli.console import step_progress
from ctr_engine.errors import CtrError
from ctr_engine.io.tables import read_parquet
from ctr_engine.reporting.reasons import reasons
from ctr_engine.tables import STAGE_H_TABLES

LOOPBACK = "127.0.0.1"


class RunFailedError(CtrError):
    """At least one partition did not come out whole."""


def run_demo(folder: Path) -> None:
    """Make the demo project, run the graph on all its samples, and compare with the known labels.

    Raises
    ------
    RunFailedError
        If a partition failed; the others have been made.
    """
    project = demo_project.make_project(folder)
    partitions = [sample.partition for sample in demo_project.demo_samples()]
    total = len(partitions) * n_steps(ANNOTATE_PARTITION)
    with project_instance(project) as instance, step_progress(total, "annotating") as progress:
        register(instance, partitions)
        outcomes = [_run(instance, project, partition, progress) for partition in partitions]
    failed = [outcome for outcome in outcomes if not outcome.success]
    if failed:
        lines = [f"{o.partition.key}: {fault}" for o in failed for fault in o.faults]
        raise RunFailedError("\n".join(["These partitions failed:", *lines]))
    _show_reasons(project, demo_project.BLOOD)
    _show_comparison(project, partitions)
    _show_places(project)


def _run(
    instance: dg.DagsterInstance, project: Project, partition: Partition, progress: "object"
) -> Outcome:
    def on_step(name: str) -> None:
        progress(f"{partition.key} {name}")  # type: ignore[operator]

    return run_job(instance, project, partition, ANNOTATE_PARTITION, on_step)


def _show_reasons(project: Project, partition: Partition) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = ("cluster_annotations", "decision_steps", "marker_evidence")
    tables = {
        name: read_parquet(STAGE_H_TABLES[name], _stored(project, name, partition))
        for name in names
    }
    why = reasons(tables)
    shown = Table(title=f"{partition.key}: real cells, one row per cluster")
    for name in ("cluster", "cells", "cell type", "why"):
        shown.add_column(name, justify="right" if name == "cells" else "left", overflow="fold")
    for row in tables["cluster_annotations"].to_dict("records"):
        label = row["assigned_label"]
        cells = (row["cluster_id"], f"{row['n_cells']:,}", label, why[row["cluster_id"]])
        shown.add_row(*(Text(cell) for cell in cells))
    Console().print(shown)


def _show_comparison(project: Project, partitions: list[Partition]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="Labels against the known ones (shares of cells)")
    for name in ("partition", "cells", "exact", "hierarchical F", "unassigned"):
        shown.add_column(name, justify="left" if name == "partition" else "right")
    for partition in partitions:
        found = demo_project.compare(project, partition)
        figures = (found.exact, found.hierarchical_f, found.unassigned)
        shown.add_row(partition.key, f"{found.n_cells:,}", *(f"{x:.3f}" for x in figures))
    Console().print(shown)


def _show_places(project: Project) -> None:
    storage = project.storage
    print(f"Tables:  {storage}/<table>/<tissue>__<sample>.parquet")
    print(f"Labels:  {storage}/annotations/<tissue>__<sample>.parquet")
    print(f"scanpy:  {storage}/coarse_clusters/<tissue>__<sample>.h5ad")
    print(f"In the browser, with lineage and pictures: make ui, or: ctr ui {project.root}")


def _stored(project: Project, name: str, partition: Partition) -> Path:
    return project.storage / name / f"{partition.key}.parquet"


def run_ui(folder: Path, port: int) -> int:
    """Serve the Dagster UI of a project on the loopback interface until it is stopped.

    Returns
    -------
    Exit code of Dagster.
    """
    project = load_project(folder)
    demo_project.write_instance(project)
    environment = os.environ | {
        PROJECT_VARIABLE: str(project.root),
        "DAGSTER_HOME": str(project.dagster_home),
    }
    # `dagster dev` advises another tool, for projects that are made with that one
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    dagster = [sys.executable, *quiet, "-m", "dagster"]
    # two processes that both start on an empty SQLite home corrupt it; one command makes it first
    subprocess.run([*dagster, "instance", "info"], env=environment, check=True, capture_output=True)
    print(f"http://{LOOPBACK}:{port}  (stop with Ctrl-C)", flush=True)
    workspace = str(files("ctr_assets") / "instance" / "workspace.yaml")
    serve = ["dev", "-w", workspace, "-h", LOOPBACK, "-p", str(port)]
    try:
        # not in a folder with a dagster.yaml of its own, about which Dagster would warn
        run = subprocess.run([*dagster, *serve], env=environment, cwd=project.root, check=False)
        return run.returncode
    except KeyboardInterrupt:
        return 0
