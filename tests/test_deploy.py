"""What deploy/ and docs/deployment.md say is true of the code, and of the commands they call."""

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from dagster._cli import cli as dagster_cli
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.cli import cli as daemon_cli
from dagster_webserver.cli import cli as webserver_cli
from typer.main import get_command

from ctr_assets.cli import app
from ctr_assets.executors import celery_settings, chosen_executor, k8s_settings
from ctr_assets.machines import gpu_tags
from ctr_assets.worker import worker_command

ROOT = Path(__file__).parents[1]
DEPLOY, PAGE = ROOT / "deploy", ROOT / "docs" / "deployment.md"
SYSTEMD = DEPLOY / "systemd"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
UNITS = sorted(SYSTEMD.glob("*.service"))
OURS = ROOT / "ctr_assets" / "instance" / "dagster.yaml"
POSTGRES = DEPLOY / "dagster.postgres.yaml"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def variables_in(text: str) -> set[str]:
    return set(re.findall(r"\bCTR_[A-Z0-9_]*[A-Z0-9]\b", text))


def constants(path: Path) -> Iterator[str]:
    """Values of the constants ``<NAME>_VARIABLE`` of a module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = value.elts if isinstance(value, ast.Tuple) else [value]
        for name, found in zip(names, values, strict=False):
            if isinstance(name, ast.Name) and name.id.endswith("_VARIABLE"):
                yield ast.literal_eval(found)


def read_by_the_code() -> set[str]:
    return {name for path in (ROOT / "ctr_assets").rglob("*.py") for name in constants(path)}


def read_by_the_instance() -> set[str]:
    return set(re.findall(r"^\s*env: (\w+)$", POSTGRES.read_text("utf-8"), re.MULTILINE))


def table() -> dict[str, str]:
    """Variables of the page's table, each with its default."""
    rows = re.findall(r"^\| `(CTR_\w+)` \| .+ \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a variable stands twice"
    return dict(rows)


# variables


def test_the_table_lists_what_is_read_and_nothing_else():
    assert len(read_by_the_code()) >= 10
    assert set(table()) == read_by_the_code() | read_by_the_instance()


def test_no_variable_escapes_the_scan():
    texts = (path.read_text("utf-8") for path in (ROOT / "ctr_assets").rglob("*.py"))
    quoted = {name for text in texts for name in re.findall(r"[\"'](CTR_[A-Z0-9_]+)[\"']", text)}
    assert quoted == read_by_the_code()


@pytest.mark.parametrize("path", [*FILES, PAGE], ids=lambda path: path.name)
def test_every_variable_that_is_named_is_read(path):
    found = variables_in(path.read_text("utf-8"))
    assert found <= read_by_the_code() | read_by_the_instance()


def test_the_environment_file_explains_every_variable():
    text = (SYSTEMD / "ctr.env").read_text("utf-8")
    assert set(re.findall(r"^#?(CTR_\w+)=", text, re.MULTILINE)) == set(table())
    settings = [line for line in text.splitlines() if line and not line.startswith("# ")]
    for line in settings:
        assert re.fullmatch(r"#?[A-Z0-9_]+=\S*", line), f"systemd does not take {line!r}"


SETTINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "CTR_EXECUTOR": (lambda: chosen_executor().name, "in_process"),
    "CTR_CELERY_BROKER": (celery_settings, "redis://elsewhere:6379/0"),
    "CTR_K8S_NAMESPACE": (k8s_settings, "another"),
    "CTR_GPUS": (gpu_tags, "0"),
    "CTR_GPU_NODES": (gpu_tags, "pool=a100"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_default_of_the_table_is_what_holds_without_the_variable(monkeypatch, name):
    for other in read_by_the_code():
        monkeypatch.delenv(other, raising=False)
    look, different = SETTINGS[name]
    without = look()
    monkeypatch.setenv(name, table()[name].strip("`"))
    assert look() == without
    monkeypatch.setenv(name, different)
    assert look() != without


def test_defaults_that_are_told_in_words(monkeypatch):
    for other in read_by_the_code():
        monkeypatch.delenv(other, raising=False)
    told = set(table()) - set(SETTINGS)
    assert {name for name in told if "`" not in table()[name].replace("`CTR_CELERY_BROKER`", "")}
    assert told == {
        *("CTR_PROJECT", "CTR_TICK_SECONDS", "CTR_CELERY_BACKEND", "CTR_POSTGRES_URL"),
        *("CTR_IMAGE", "CTR_GPU_IMAGE"),
    }
    monkeypatch.setenv("CTR_CELERY_BROKER", "redis://elsewhere:6379/0")
    assert celery_settings()["backend"] == "redis://elsewhere:6379/0"
    assert "job_image" not in k8s_settings()
    assert "image" not in gpu_tags()["dagster-k8s/config"]["container_config"]


def test_the_paces_of_the_sensors_are_those_of_the_table():
    sensors = [*(ROOT / "ctr_assets" / "sensors").glob("*.py"), ROOT / "ctr_assets/automation.py"]
    found = [
        int(number)
        for path in sensors
        for number in re.findall(r"minimum_interval_seconds=seconds\((\d+)\)", path.read_text())
    ]
    assert table()["CTR_TICK_SECONDS"].startswith(f"{min(found)} to {max(found)}")


# the instance


def test_the_instance_of_a_laboratory_differs_where_it_says():
    ours, theirs = load(OURS), load(POSTGRES)
    assert theirs.pop("storage")["postgres"]["postgres_url"] == {"env": "CTR_POSTGRES_URL"}
    # a restart of the daemon must harm no run, and forks end with it
    assert ours.pop("run_launcher")["module"] == "ctr_assets.launcher"
    # no step of this version computes on a GPU; one machine need not wait for one
    assert ours["concurrency"]["pools"].pop("default_limit") == 2
    assert theirs["concurrency"]["pools"].pop("default_limit") == 1
    assert ours["concurrency"]["runs"].pop("max_concurrent_runs") == 2
    assert theirs["concurrency"]["runs"].pop("max_concurrent_runs") == 8
    assert ours["run_monitoring"].pop("start_timeout_seconds") == 180
    assert theirs["run_monitoring"].pop("start_timeout_seconds") == 300
    assert theirs == ours


def test_dagster_takes_the_instance(monkeypatch):
    monkeypatch.setenv("CTR_POSTGRES_URL", "postgresql+psycopg2://ctr@127.0.0.1:5432/ctr")
    found = process_config(dagster_instance_config_schema(), load(POSTGRES))
    assert found.success, found.errors


# units


def lines_of(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


def command(unit: Path, key: str) -> list[str]:
    (line,) = lines_of(unit, key)
    return shlex.split(line.replace("${CTR_PROJECT}", "/srv/ctr/project").replace("%i", "gpu"))


PROGRAMS: dict[str, Any] = {
    "dagster": dagster_cli,
    "dagster-daemon": daemon_cli,
    "dagster-webserver": webserver_cli,
    "ctr": get_command(app),
}


def _anywhere(parameter: Any) -> Any:
    """Let an option take a path that is not here: those of the units are a server's."""
    if isinstance(parameter, click.Option) and isinstance(parameter.type, click.Path):
        parameter = copy(parameter)
        parameter.type = click.STRING
    return parameter


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Take a command line as the program would: the name of its last command, and its options."""
    place = Path(words[0])
    assert str(place.parent) == "/opt/ctr/bin"
    program, rest = PROGRAMS[place.name], words[1:]
    path = place.name
    while hasattr(program, "commands"):
        name, *rest = rest
        assert name in program.commands, f"{path} has no command {name}"
        program, path = program.commands[name], f"{path} {name}"
    program = copy(program)
    program.params = [_anywhere(parameter) for parameter in program.params]
    return path, program.make_context(path, rest).params


def test_there_are_the_units_that_the_page_enables():
    enabled = set(
        re.findall(r"\bctr-(?:\w+)", " ".join(re.findall(r"systemctl enable.*", PAGE.read_text())))
    )
    assert enabled == {path.stem.rstrip("@") for path in UNITS}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_a_unit_starts_is_a_command_with_these_options(unit):
    path, options = parsed(command(unit, "ExecStart"))
    if "workspace" in options and path != "dagster code-server start":
        assert options["workspace"] == ("/etc/ctr/workspace.yaml",)
    for line in lines_of(unit, "ExecStartPre"):
        assert parsed(shlex.split(line))[0] == "dagster instance info"


def test_an_option_that_does_not_exist_is_noticed():
    with pytest.raises(click.UsageError, match="No such option"):
        parsed(["/opt/ctr/bin/dagster-webserver", "--readonly"])


def test_the_code_server_is_where_the_workspace_looks():
    _, options = parsed(command(SYSTEMD / "ctr-code.service", "ExecStart"))
    (origin,) = WorkspaceFileTarget([str(DEPLOY / "workspace.yaml")]).create_origins()
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    assert (origin.host, origin.port) == (options["host"], options["port"])
    assert origin.location_name == options["location_name"] == "ctr"
    # `lost_runs` knows runs of this machine by this word
    assert origin.host == "localhost"
    assert str(options["port"]) in lines_of(SYSTEMD / "ctr-code.service", "ExecStartPost")[0]


def test_the_code_server_comes_first_and_makes_the_records():
    assert lines_of(SYSTEMD / "ctr-code.service", "ExecStartPre") == [
        "/opt/ctr/bin/dagster instance info"
    ]
    for name in ("daemon", "webserver", "viewer"):
        unit = SYSTEMD / f"ctr-{name}.service"
        assert lines_of(unit, "Requires") == lines_of(unit, "After") == ["ctr-code.service"]
    assert "ctr-code.service" in lines_of(SYSTEMD / "ctr-worker@.service", "After")[0].split()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_not_root_and_comes_back(unit):
    for key, value in (
        *(("User", "ctr"), ("NoNewPrivileges", "yes"), ("Restart", "on-failure")),
        *(("EnvironmentFile", "/etc/ctr/ctr.env"), ("ProtectSystem", "strict")),
    ):
        assert lines_of(unit, key) == [value], key
    assert lines_of(unit, "KillMode")


def test_a_worker_of_each_queue_can_be_started():
    _, options = parsed(command(SYSTEMD / "ctr-worker@.service", "ExecStart"))
    for queue in ("cpu", "gpu"):
        assert queue in worker_command(queue, options["concurrency"])


# the proxy


def servers() -> dict[str, str]:
    """Servers of nginx.conf that speak TLS: port and text."""
    text = re.sub(r"#.*", "", (DEPLOY / "nginx.conf").read_text("utf-8"))
    blocks = re.findall(r"^server \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    found = {re.findall(r"listen (\d+)", block)[0]: block for block in blocks}
    assert "return 301 https://$host$request_uri;" in found["80"]
    assert "proxy_pass" not in found.pop("80")
    return found


def upstream(name: str) -> str:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    (address,) = re.findall(rf"upstream {name} \{{\s*server ([\d.:]+);", text)
    return str(address)


def webserver_of(unit: str) -> tuple[str, bool]:
    _, options = parsed(command(SYSTEMD / f"{unit}.service", "ExecStart"))
    return f"{options['host']}:{options['port']}", options["read_only"]


def test_each_door_leads_to_its_webserver_on_loopback():
    doors = {"443": ("ctr_editors", "ctr-webserver"), "8443": ("ctr_viewers", "ctr-viewer")}
    assert set(servers()) == set(doors)
    for port, (name, unit) in doors.items():
        assert set(re.findall(r"proxy_pass http://(\w+);", servers()[port])) == {name}
        address, read_only = webserver_of(unit)
        assert address == upstream(name)
        assert address.startswith("127.0.0.1:")
        assert read_only == (unit == "ctr-viewer")


def test_every_request_wants_a_password():
    files = set()
    for block in servers().values():
        head = block[: block.index("location")]
        assert re.search(r"^\s+auth_basic +\"", head, re.MULTILINE)
        files |= set(re.findall(r"auth_basic_user_file (\S+);", head))
        # Dagster takes mutations by GET: an exception for a method or a place would be a way in
        for way in ("limit_except", "satisfy", "auth_basic off", "auth_basic           off"):
            assert way not in block
    assert len(files) == 2
    assert all("/graphql {" in block and "$ctr_plain_get" in block for block in servers().values())


# Kubernetes


def test_the_limits_of_the_cluster_are_those_of_the_laboratory():
    values, instance = load(DEPLOY / "helm-values.yaml"), load(POSTGRES)
    pools, runs = values["concurrency"]["pools"], values["concurrency"]["runs"]
    assert values["concurrency"]["enabled"] is True
    assert instance["concurrency"] == {
        "pools": {"granularity": pools["granularity"], "default_limit": pools["defaultLimit"]},
        "runs": {
            "max_concurrent_runs": runs["maxConcurrentRuns"],
            "tag_concurrency_limits": runs["tagConcurrencyLimits"],
        },
    }
    assert (
        runs["tagConcurrencyLimits"] == load(OURS)["concurrency"]["runs"]["tag_concurrency_limits"]
    )
    # the chart refuses the same limits in two places
    assert set(values["dagsterDaemon"]["runCoordinator"]) == {"enabled", "type"}
    given, wanted = values["dagsterDaemon"]["runMonitoring"], instance["run_monitoring"]
    assert given == {
        "enabled": wanted["enabled"],
        "startTimeoutSeconds": wanted["start_timeout_seconds"],
        "maxResumeRunAttempts": wanted["max_resume_run_attempts"],
        "pollIntervalSeconds": wanted["poll_interval_seconds"],
        "freeSlotsAfterRunEndSeconds": wanted["free_slots_after_run_end_seconds"],
    }


def test_the_environment_of_the_cluster_is_one_that_the_code_takes(monkeypatch):
    values = load(DEPLOY / "helm-values.yaml")
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    given = {entry["name"]: entry["value"] for entry in deployment["env"]}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert chosen_executor().name == "k8s"
    image = deployment["image"]
    assert k8s_settings() == {
        "job_namespace": "dagster",
        "job_image": f"{image['repository']}:{image['tag']}",
    }
    assert gpu_tags()["dagster-k8s/config"]["container_config"]["image"] == given["CTR_GPU_IMAGE"]
    (mount,) = deployment["volumeMounts"]
    assert mount["mountPath"] == given["CTR_PROJECT"]
    assert mount["name"] in {volume["name"] for volume in deployment["volumes"]}


def test_the_code_server_of_the_cluster_is_started_with_options_that_exist():
    (deployment,) = load(DEPLOY / "helm-values.yaml")["dagster-user-deployments"]["deployments"]
    chart = ["-h", "0.0.0.0", "-p", str(deployment["port"])]  # noqa: S104  as the chart does
    words = ["/opt/ctr/bin/dagster", "api", "grpc", *chart, *deployment["dagsterApiGrpcArgs"]]
    assert parsed(words)[1]["location_name"] == deployment["name"] == "ctr"


def test_the_image_has_what_the_package_wants():
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    (user,) = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    (deployment,) = load(DEPLOY / "helm-values.yaml")["dagster-user-deployments"]["deployments"]
    assert deployment["podSecurityContext"]["runAsUser"] == int(user) > 0
    assert "-c constraints.txt" in text


def test_the_chart_is_that_of_the_pinned_dagster():
    pin = re.search(r"^dagster==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pin is not None
    text = (DEPLOY / "helm-values.yaml").read_text("utf-8")
    assert set(re.findall(r"--version (\S+)", text)) == {pin[1]}
