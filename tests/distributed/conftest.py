"""A laboratory on PostgreSQL, Redis and two Celery workers, all real and on loopback."""

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from tests.daemon.conftest import Running, free_port, make_folder

DEPLOY = Path(__file__).parents[2] / "deploy"


def servers() -> dict[str, str]:
    """Addresses of the servers; without them the tests of this folder are skipped."""
    names = ("CTR_TEST_POSTGRES", "CTR_TEST_REDIS")
    if not all(name in os.environ for name in names):
        if "CTR_SERVERS" in os.environ:
            pytest.fail(f"CTR_SERVERS is set, and {' or '.join(names)} is not")
        pytest.skip('no servers; start them with: eval "$(.ci/servers start)"')
    return {name: os.environ[name] for name in names}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Give an empty database."""
    server = servers()["CTR_TEST_POSTGRES"]
    name = f"ctr_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    yield server.rpartition("/")[0] + f"/{name}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"drop database {name} with (force)"))
    engine.dispose()


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Running]:
    """Give a project that looks after itself, whose steps two workers do."""
    project = make_folder(tmp_path_factory.mktemp("distributed"))
    project.dagster_home.mkdir()
    (project.dagster_home / "dagster.yaml").write_text(
        (DEPLOY / "dagster.postgres.yaml").read_text()
    )
    queue = f"{servers()['CTR_TEST_REDIS'].rpartition('/')[0]}/7"
    variables = {
        "CTR_EXECUTOR": "celery",
        "CTR_CELERY_BROKER": queue,
        "CTR_POSTGRES_URL": database,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
            made = Running(project, instance, free_port(), variables=variables)
            worker = [sys.executable, "-m", "ctr_assets", "worker", str(project.root), "--queue"]
            try:
                made.spawn([*worker, "cpu", "--concurrency", "2"])
                made.spawn([*worker, "gpu"])
                made.start()
                yield made
            finally:
                made.stop(signal.SIGKILL)
