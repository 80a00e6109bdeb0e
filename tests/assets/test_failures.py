"""``failed_runs`` posts a failure to a real address; one that does not answer harms nothing."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from ctr_assets.partitions import parse_key
from ctr_assets.sensors.failures import failed_runs
from tests.assets.conftest import LIVER_1, Laboratory


class _Mailbox(BaseHTTPRequestHandler):
    posted: list[dict] = []  # noqa: RUF012  one server at a time

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.posted.append(json.loads(self.rfile.read(size)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def mailbox() -> Iterator[HTTPServer]:
    _Mailbox.posted.clear()
    with HTTPServer(("127.0.0.1", 0), _Mailbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def failure(laboratory: Laboratory, *, interrupted: bool = False) -> dg.RunFailureSensorContext:
    """What the daemon hands over after a run that failed: here, for want of a sample."""

    laboratory.project.sample_path(parse_key(LIVER_1)).unlink()
    run_id = laboratory.run(LIVER_1).run_id
    run = laboratory.instance.get_run_by_id(run_id)
    if interrupted:  # Dagster takes Ctrl-C for a failure; ctr cancels the run after it
        laboratory.instance.report_run_canceled(run)
        run = laboratory.instance.get_run_by_id(run_id)
    events = laboratory.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    return dg.build_run_status_sensor_context(
        sensor_name="failed_runs",
        dagster_instance=laboratory.instance,
        dagster_run=run,
        dagster_event=events[0].dagster_event,
    ).for_run_failure()


def configured(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    (laboratory.project.root / "ctr.yaml").write_text(line)
    monkeypatch.setenv("CTR_PROJECT", str(laboratory.project.root))


def test_a_failure_is_posted_with_its_partition_and_reason(laboratory, mailbox, monkeypatch):
    address = f"http://127.0.0.1:{mailbox.server_port}/hook"
    configured(laboratory, monkeypatch, f"webhook: {address}\n")
    assert failed_runs(failure(laboratory)) is None
    (posted,) = _Mailbox.posted
    assert posted["partition"] == LIVER_1
    assert posted["text"] == f"ctr: annotate_partition of {LIVER_1} failed"
    assert "does not exist" in posted["steps"]["stage_h_input"]


def test_without_an_address_nothing_is_posted(laboratory, mailbox, monkeypatch):
    configured(laboratory, monkeypatch, "")
    assert "names no webhook" in failed_runs(failure(laboratory)).skip_message
    assert _Mailbox.posted == []


def test_a_run_that_a_person_interrupted_is_not_posted(laboratory, mailbox, monkeypatch):
    configured(laboratory, monkeypatch, f"webhook: http://127.0.0.1:{mailbox.server_port}/hook\n")
    told = failed_runs(failure(laboratory, interrupted=True)).skip_message
    assert told == "somebody interrupted the run"
    assert _Mailbox.posted == []


def test_an_address_that_does_not_answer_is_a_warning(laboratory, monkeypatch):
    configured(laboratory, monkeypatch, "webhook: http://127.0.0.1:9/nobody\n")
    assert "did not take it" in failed_runs(failure(laboratory)).skip_message
