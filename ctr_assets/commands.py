"""Commands that need the graph; imported by the command line when one of them is called."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

import dagster as dg
from upath import UPath

from ctr_assets import demo as demo_project
from ctr_assets.assets.refinement import iteration_name
from ctr_assets.backfill import job_from, request_backfill
from ctr_assets.definitions import build_defs
from ctr_assets.export import export_partition
from ctr_assets.freshness import registered
from ctr_assets.iteration_files import resolved
from ctr_assets.jobs import ANNOTATE_PARTITION, REPORT_PARTITION
from ctr_assets.partitions import PARTITIONS, Partition, parse_key
from ctr_assets.project import PROJECT_VARIABLE, Project, load_project
from ctr_assets.provenance import Records, as_prov, as_tree
from ctr_assets.runs import (
    Outcome,
    n_steps,
    project_instance,
    register,
    run_job,
    write_instance,
)
from ctr_assets.status import statuses
from ctr_engine.cli.console import counted, show_reasons, show_warnings, step_progress
from ctr_engine.errors import CtrError, Fault, InputError, ParameterError
from ctr_engine.io.tables import read_parquet
from ctr_engine.tables import STAGE_H_TABLES, Annotations, FinalAnnotations

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
    _run_all(project, partitions, [ANNOTATE_PARTITION])
    _run_all(project, [demo_project.BLOOD], [REPORT_PARTITION])
    _show_reasons(project, demo_project.BLOOD, "real cells")
    _show_comparison(project, partitions)
    _show_places(project)
    print(f"Figures and audit cards of the real cells: {_page(project, demo_project.BLOOD)}")


def _run(
    instance: dg.DagsterInstance,
    project: Project,
    partition: Partition,
    job: str,
    progress: Callable[[str], None],
) -> Outcome:
    def on_step(name: str) -> None:
        progress(f"{partition.key} {name}")

    return run_job(instance, project, partition, job, on_step)


def _show_reasons(project: Project, partition: Partition, what: str = "cells") -> None:
    names = ("cluster_annotations", "decision_steps", "marker_evidence")
    tables = {
        name: read_parquet(STAGE_H_TABLES[name], project.stored(name, partition)) for name in names
    }
    show_reasons(tables, f"{partition.key}: {what}, one row per cluster")


def _show_comparison(project: Project, partitions: list[Partition]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="Labels against the known ones (shares of cells), before -> after refining")
    for name in ("partition", "cells", "exact", "hierarchical F", "unassigned"):
        side = "left" if name == "partition" else "right"
        shown.add_column(name, justify=side, overflow="fold")
    for partition in partitions:
        both = demo_project.compare(project, partition)
        figures = ([getattr(one, name) for one in both] for name in _COMPARED)
        pairs = (f"{before:.3f} -> {after:.3f}" for before, after in figures)
        shown.add_row(partition.key, f"{both[0].n_cells:,}", *pairs)
    console = Console()
    console.print(shown)
    console.print(
        "exact: the known label itself; hierarchical F also counts the ancestors that both share. "
        "The known labels of the blood cells come from bulk references and are noisy themselves."
    )


_COMPARED = ("exact", "hierarchical_f", "unassigned")


def _show_refinement(project: Project, partition: Partition) -> None:
    """Say how many cells have another label after the iterations, and why those ended."""
    labels = read_parquet(Annotations, project.stored("annotations", partition))
    final = read_parquet(FinalAnnotations, project.stored("final_annotations", partition))
    last = iteration_name(project.config.refinement_iterations)
    lineage = resolved(project.files, project.storage / last / f"{partition.key}.parquet").read()
    moved = int((labels["cell_type_auto"].to_numpy() != final["cell_type"].to_numpy()).sum())
    end = lineage.stop_reason or "not converged"
    print(
        f"{partition.key}: {counted(len(lineage.records), 'iteration')} of refinement ({end}); "
        f"{moved:,} of {len(final):,} cells have another label than before"
    )
    for text in lineage.records[-1].waiting:
        print(f"Warning: not carried out of the manual plan: {text}", file=sys.stderr)


def _show_places(project: Project) -> None:
    storage = project.storage
    profile = project.config.defaults.profile
    print(f"Profile: {profile} (docs/methods.md#profiles), as {project.root}/ctr.yaml says")
    print(f"Tables:  {storage}/<table>/<tissue>__<sample>.parquet")
    print(f"Labels:  {storage}/final_annotations/<tissue>__<sample>.parquet")
    print(f"scanpy:  {storage}/refined/<tissue>__<sample>.h5ad")
    print(f"In the browser, with lineage and pictures: make ui, or: ctr ui {project.root}")


def _page(project: Project, partition: Partition) -> UPath:
    return project.storage / "report" / f"{partition.key}.html"


def run_partitions(folder: Path, keys: list[str], *, report: bool = False) -> None:
    """Run the graph on samples of a project, on all that lie in its folder when none is named.

    Parameters
    ----------
    report
        Whether to make their pages as well.

    Raises
    ------
    InputError
        If there is no sample, or one that is named is not there.
    RunFailedError
        If a partition failed; the others have been made.
    """
    project = load_project(folder)
    partitions = [parse_key(key) for key in keys] or project.partitions()
    for partition in partitions:
        project.sample_path(partition)
    if not partitions:
        place = project.root / project.config.samples_dir / "<tissue>" / "<sample>.h5ad"
        raise InputError(str(folder), [Fault(f"there is no sample; put one at {place}")])
    _run_all(project, partitions, [ANNOTATE_PARTITION, *([REPORT_PARTITION] if report else [])])
    for partition in partitions:
        _show_reasons(project, partition)
        _show_refinement(project, partition)
    _show_places(project)
    if report:
        print(f"Pages:   {project.storage}/report/<tissue>__<sample>.html")


def show_status(folder: Path, tissue: str | None, *, everything: bool, as_json: bool) -> None:
    """Print the state of each sample of a project.

    Raises
    ------
    InputError
        If there is no sample.
    """
    project = load_project(folder)
    with project_instance(project) as instance:
        found, faults = statuses(instance, project, tissue)
    if not found:
        place = project.root / project.config.samples_dir / (tissue or "<tissue>")
        raise InputError(str(folder), [Fault(f"there is no sample in {place}")])
    show_warnings(faults)
    if as_json:
        print(json.dumps([one.as_row() for one in found], indent=2))
        return
    counts = Counter(one.state for one in found)
    shown = [one for one in found if everything or one.state != "fresh"]
    for one in shown:
        print(f"{one.partition}  {one.state}{': ' if one.why else ''}{one.why}")
    words = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    print(f"{counted(len(found), 'partition')}: {words}")


def start_backfill(folder: Path, tissue: str | None, keys: list[str], begin: str) -> None:
    """Ask for a backfill of a tissue, or of some partitions, from an asset on.

    Raises
    ------
    CtrError
        If nothing is chosen, a partition is not registered, or Dagster does not take it.
    """
    project, job = load_project(folder), job_from(begin)
    if (tissue is None) == (not keys):
        msg = "name partitions, or a tissue with --tissue; one of both"
        raise ParameterError(msg)
    with project_instance(project) as instance:
        known = registered(instance)
    chosen = [parse_key(key) for key in keys] or [one for one in known if one.tissue == tissue]
    unknown = [one.key for one in chosen if one not in known]
    if unknown or not chosen:
        what = ", ".join(unknown) or f"a sample of {tissue}"
        msg = f"Dagster does not know {what} yet; run: ctr run --project {folder}"
        raise ParameterError(msg)
    backfill = request_backfill(project, chosen, job)
    print(f"Backfill {backfill}: {job} on {counted(len(chosen), 'partition')}, one run each.")
    print(f"The daemon makes them; it runs with: ctr ui {folder}")


def _require_asset(project: Project, name: str) -> None:
    """Refuse a name that no asset of the graph has."""
    graph = build_defs(str(project.root)).resolve_asset_graph()
    known = sorted(
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if graph.get(key).partitions_def == PARTITIONS
    )
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
        msg = f"no step of the graph makes {name!r}. {hint}"
        raise ParameterError(msg)


def show_lineage(folder: Path, key: str, asset: str, *, as_json: bool) -> None:
    """Print what an asset of a partition was made from.

    Raises
    ------
    ParameterError
        If there is no such asset.
    UnknownAssetError
        If it was never made.
    """
    project, partition = load_project(folder), parse_key(key)
    _require_asset(project, asset)
    with project_instance(project) as instance:
        made = Records(instance, project, partition).made(asset)
    if as_json:
        print(json.dumps(as_prov(made), indent=2))
        return
    for line in as_tree(made):
        print(line)
    faults = [f"{one.asset}: {text}" for one in made.walk() for text in one.differs]
    if faults:
        print("It could not be reproduced now; what differs is marked with !.")
    else:
        print("It could be reproduced now: inputs, parameters, code and files are the same.")


def export_results(folder: Path, key: str, output_dir: Path) -> None:
    """Write the stored results of a partition into a folder.

    Raises
    ------
    CtrError
        If the partition was not annotated as the project stands, or the folder cannot be used.
    """
    project, partition = load_project(folder), parse_key(key)
    with project_instance(project) as instance:
        manifest = export_partition(instance, project, partition, output_dir)
    print(f"{partition.key}: {len(manifest.files)} files of {manifest.n_cells:,} cells")
    print(f"Results: {output_dir}; next: ctr explain {output_dir} --cluster 0")


def _run_all(project: Project, partitions: list[Partition], jobs: list[str]) -> None:
    """Run jobs, one after the other, on each partition; a partition that fails gets no more."""
    total = len(partitions) * sum(map(n_steps, jobs))
    outcomes = []
    with project_instance(project) as instance, step_progress(total, "annotating") as progress:
        register(instance, partitions)
        for partition in partitions:
            for job in jobs:
                outcomes.append(_run(instance, project, partition, job, progress))
                if not outcomes[-1].success:
                    break
    failed = [outcome for outcome in outcomes if not outcome.success]
    if failed:
        lines = [f"{o.partition.key}: {fault}" for o in failed for fault in o.faults]
        raise RunFailedError("\n".join(["These partitions failed:", *lines]))


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            msg = f"port {port} is in use; is the UI open already? Else: ctr ui --port {port + 1}"
            raise ParameterError(msg) from None


def run_ui(folder: Path, port: int) -> NoReturn:
    """Become the Dagster UI of a project, on the loopback interface, until it is stopped.

    Raises
    ------
    ParameterError
        If the port is in use.
    RunFailedError
        If Dagster cannot open its instance.
    """
    project = load_project(folder)
    _require_free(port)
    write_instance(project)
    environment = os.environ | {
        PROJECT_VARIABLE: str(project.root),
        "DAGSTER_HOME": str(project.dagster_home),
    }
    # `dagster dev` advises another tool, for projects that are made with that one
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    dagster = [sys.executable, *quiet, "-m", "dagster"]
    # two processes that both start on an empty SQLite home corrupt it; one command makes it first
    info = [*dagster, "instance", "info"]
    made = subprocess.run(info, env=environment, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise RunFailedError(f"Dagster cannot open {project.dagster_home}:\n{made.stderr}")
    print(f"http://{LOOPBACK}:{port}  (stop with Ctrl-C)", flush=True)
    workspace = str(files("ctr_assets") / "instance" / "workspace.yaml")
    serve = ["dev", "-w", workspace, "-h", LOOPBACK, "-p", str(port)]
    # not in a folder with a dagster.yaml of its own, about which Dagster would warn; and in place
    # of this process, so that Dagster itself gets the signals that stop it
    os.chdir(project.root)
    os.execve(sys.executable, [*dagster, *serve], environment)
