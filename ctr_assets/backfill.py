"""A backfill, asked for as the UI asks: one run per partition, made by the daemon."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files

from ctr_assets.jobs import (
    ANNOTATE_PARTITION,
    REPORT_PARTITION,
    reannotate_from_scores,
    refine_partition,
)
from ctr_assets.partitions import Partition
from ctr_assets.project import PROJECT_VARIABLE, Project
from ctr_assets.runs import write_instance
from ctr_engine.errors import CtrError, ParameterError

JOBS_FROM = {
    "stage_h_input": ANNOTATE_PARTITION,
    "marker_scores": reannotate_from_scores.name,
    "refinement_iteration_1": refine_partition.name,
    "report": REPORT_PARTITION,
}
"""Job that makes an asset and what stands below it."""
_MUTATION = """
mutation($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on PartitionSetNotFoundError { message }
    ... on PartitionKeysNotFoundError { message }
    ... on UnauthorizedError { message }
  }
}
"""


class BackfillError(CtrError):
    """Dagster did not take a backfill."""


def job_from(asset: str) -> str:
    """Job that begins with an asset.

    Raises
    ------
    ParameterError
        If none does.
    """
    if asset not in JOBS_FROM:
        msg = f"a backfill begins with {', '.join(JOBS_FROM)}; got {asset!r}"
        raise ParameterError(msg)
    return JOBS_FROM[asset]


def request_backfill(project: Project, partitions: Sequence[Partition], job: str) -> str:
    """Ask for a job on many partitions; gives the id of the backfill.

    Raises
    ------
    BackfillError
        If Dagster does not take it.
    """
    write_instance(project)
    repository = {"repositoryLocationName": "ctr", "repositoryName": "__repository__"}
    params = {
        "selector": {"partitionSetName": f"{job}_partition_set", "repositorySelector": repository},
        "partitionNames": [one.key for one in partitions],
        "title": f"ctr backfill: {job}",
    }
    workspace = str(files("ctr_assets") / "instance" / "workspace.yaml")
    start = "from dagster_graphql.cli import main; main()"
    command = [sys.executable, "-c", start, "-w", workspace, "-t", _MUTATION]
    done = subprocess.run(
        [*command, "-v", json.dumps({"backfillParams": params})],
        env=os.environ
        | {PROJECT_VARIABLE: str(project.root), "DAGSTER_HOME": str(project.dagster_home)},
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    answer = json.loads(lines[-1]) if lines else {}
    found = answer["data"]["launchPartitionBackfill"] if "data" in answer else {}
    if "backfillId" not in found:
        words = found["message"] if "message" in found else done.stderr or done.stdout
        msg = f"Dagster did not take the backfill: {words.strip()[-1000:]}"
        raise BackfillError(msg)
    return str(found["backfillId"])
