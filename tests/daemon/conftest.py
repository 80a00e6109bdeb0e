"""A laboratory that runs by itself: ``dagster-daemon`` and a webserver on a project folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg
import pytest

from ctr_assets.partitions import PARTITIONS, parse_key
from ctr_assets.project import Project, load_project
from ctr_assets.runs import project_instance
from tests.bad_inputs import GOOD_MAP, good_sample

TICK = 2
CONFIG = """\
retries: {wait_seconds: 1}
defaults:
  refinement: {min_cells: 10, min_subcluster_cells: 10}
tissues:
  kidney: {automation: false}
"""
PATIENCE = 600.0


@dataclass
class Running:
    """A project folder with everything that runs on it."""

    project: Project
    instance: dg.DagsterInstance
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the processes are told."""
        return os.environ | {
            "CTR_PROJECT": str(self.project.root),
            "DAGSTER_HOME": str(self.project.dagster_home),
            "CTR_TICK_SECONDS": str(TICK),
            "CTR_EXECUTOR": "in_process",
            "PYTHONWARNINGS": "ignore",
            **self.variables,
        }

    def start(self) -> None:
        """Start Dagster: webserver, daemon and code server."""
        workspace = str(files("ctr_assets") / "instance" / "workspace.yaml")
        command = [sys.executable, "-m", "dagster", "dev", "-w", workspace]
        address = ["-h", "127.0.0.1", "-p", str(self.port)]
        self.spawn([*command, *address])
        self.until(self._answers, "the webserver answers")

    def spawn(self, command: list[str]) -> None:
        """Start a process that lives as long as the others."""
        with (self.project.root / "dagster.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command,
                    env=self.environment,
                    cwd=self.project.root,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _answers(self) -> bool:
        address = f"http://127.0.0.1:{self.port}/server_info"
        with suppress(URLError, OSError), urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop all of it, with every child."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)
        self.processes.clear()

    def until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(1.0)
        log = (self.project.root / "dagster.log").read_text(errors="replace")[-4000:]
        pytest.fail(f"after {seconds:.0f} s it does not hold that {what}\n{log}")

    def quiet(self, ticks: int = 4) -> None:
        """Wait until no run is unfinished for some ticks of every sensor."""
        since = time.monotonic()

        def calm() -> bool:
            nonlocal since
            if any(not run.is_finished for run in self.instance.get_runs()):
                since = time.monotonic()
            return time.monotonic() - since > ticks * TICK

        self.until(calm, "nothing runs any more")

    def put_sample(self, key: str, seed: int = 0, n_cells: int = 120) -> Path:
        """Drop a sample, whole at once."""
        path = self.sample_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}.part")
        good_sample(n_cells, seed).write_h5ad(hidden)
        hidden.replace(path)
        return path

    def sample_path(self, key: str) -> Path:
        """Where a sample lies."""
        partition = parse_key(key)
        return self.project.root / "samples" / partition.tissue / f"{partition.sample}.h5ad"

    def map_path(self, tissue: str) -> Path:
        """Where the map of a tissue lies."""
        return self.project.root / "marker_maps" / f"{tissue}.json"

    def edit_map(self, tissue: str, content: str) -> None:
        """Replace a map."""
        hidden = self.map_path(tissue).with_suffix(".part")
        hidden.write_text(content)
        hidden.replace(self.map_path(tissue))

    def newest(self, asset: str, key: str) -> dg.AssetMaterialization | None:
        """Newest materialisation."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
        found = self.instance.fetch_materializations(wanted, limit=1).records
        return found[0].asset_materialization if found else None

    def basis(self, key: str) -> dict[str, str]:
        """What the newest labels were made from."""
        event = self.newest("final_annotations", key)
        return dict(event.metadata["basis"].value) if event is not None else {}

    def times(self, asset: str, key: str) -> int:
        """How often an asset was made."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
        return len(self.instance.fetch_materializations(wanted, limit=1000).records)

    def history(self, key: str) -> str:
        """Say who asked for each run of a partition, when, and how it ended."""
        wanted = dg.RunsFilter(tags={"dagster/partition": key})
        lines = []
        for record in self.instance.get_run_records(wanted, ascending=True):
            run, tags = record.dagster_run, record.dagster_run.tags
            who = {name: tags[name] for name in ("ctr/trigger", "dagster/run_key") if name in tags}
            times = (record.create_timestamp.timestamp(), record.start_time, record.end_time)
            lines.append(f"{run.job_name} {run.status.value} {who} {times}")
        return "\n".join([f"runs of {key} (made, started, ended):", *lines])

    def partitions(self) -> set[str]:
        """Registered partitions."""
        return set(self.instance.get_dynamic_partitions(PARTITIONS.name or ""))

    def graphql(self, query: str, variables: dict | None = None) -> dict:
        """Ask the webserver, as its page does."""
        content = json.dumps({"query": query, "variables": variables or {}}).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"http://127.0.0.1:{self.port}/graphql", content, headers)
        with urlopen(request, timeout=60) as answer:
            found = json.loads(answer.read())
        assert "errors" not in found, found
        return dict(found["data"])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def make_folder(folder: Path) -> Project:
    """A project with maps and no sample."""
    (folder / "ctr.yaml").write_text(CONFIG)
    (folder / "marker_maps").mkdir()
    (folder / "samples").mkdir()
    for tissue in ("liver", "lung", "kidney"):
        (folder / "marker_maps" / f"{tissue}.json").write_text(GOOD_MAP)
    return load_project(folder)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give a project that looks after itself."""
    project = make_folder(tmp_path_factory.mktemp("laboratory"))
    with project_instance(project) as instance:
        made = Running(project, instance, free_port())
        made.start()
        try:
            yield made
        finally:
            # nobody looks at it any more, and on a busy machine its own way out takes a minute
            made.stop(signal.SIGKILL)
