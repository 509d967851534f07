"""`meta-flows doctor` on servers, engines and repositories with something wrong."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from benchmarks.server import started_database
from meta_flows import doctor
from tests.engines import Registry, locked_registry, registry
from tests.server.doctor.conftest import Findings, rewritten
from tests.servers import free_port, started_server
from tests.shops import Shop
from tests.system.images.test_deploying import TEMPLATE

__all__ = ["locked_registry", "registry"]

SECRET = "geheim"


@pytest.fixture
def ready(shop: Shop) -> Shop:
    """A shop with a work pool of its own that a worker polls."""
    for name in ("development", "staging"):
        shop.write(f"environments/{name}.yaml", {"work_pools": {"python": shop.project}})
    shop.server.post("/work_pools/", {"name": shop.project, "type": "process"})
    shop.server.post(f"/work_pools/{shop.project}/workers/heartbeat", {"name": "w"})
    return shop


def test_where_all_is_well_every_line_is_ok(ready: Shop) -> None:
    found = Findings(ready)
    assert (found.code, found.wrong) == (0, set())
    assert {*doctor.ALONE, *doctor.CONFIGURED, *doctor.REACHED, *doctor.ANSWERED, *doctor.CONNECTED} < {
        item["check"] for item in found.found
    }
    shown = ready.meta_flows("doctor")
    assert shown.returncode == 0
    assert shown.stdout.count("\nok ") + 1 == len(found.found)
    assert shown.stdout.endswith(" ok, 0 warnings, 0 failures\n")


def test_without_a_server_the_rest_is_said_and_none_is_started(shop: Shop) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    shop.write("environments/defaults.yaml", {"project": shop.project, "prefect_api_url": nowhere})
    found = Findings(shop)
    assert (found.code, found.wrong) == (1, {("server", "fail", "MF401")})
    assert {item["check"] for item in found.found} == {
        "environment",
        *doctor.ALONE,
        *doctor.CONFIGURED,
        *doctor.REACHED,
    }
    with pytest.raises(httpx.ConnectError):
        httpx.get(nowhere)


def test_an_environment_that_cannot_be_read_is_said_with_the_place(ready: Shop) -> None:
    ready.write("environments/staging.yaml", {"typo": 1})
    found = Findings(ready, "-e", "staging")
    assert (found.code, found.wrong) == (1, {("environment", "fail", "MF202")})
    assert "environments/staging.yaml:1" in found.text
    assert found.of("packages") == [("ok", None)]


def test_an_unknown_environment_is_said(shop: Shop) -> None:
    assert Findings(shop, "-e", "prodction").wrong == {("environment", "fail", "MF204")}


def test_a_shell_that_names_another_server_is_refused_outside_development(ready: Shop) -> None:
    other = f"http://127.0.0.1:{free_port()}/api"
    assert Findings(ready, "-e", "staging", PREFECT_API_URL=other).wrong == {("server", "fail", "MF403")}


def test_sqlite_is_a_warning_where_it_matters_with_the_pools_that_have_no_limit(ready: Shop) -> None:
    found = Findings(ready, "-e", "staging")
    assert (found.code, found.wrong) == (0, {("database", "warn", "MF808")})
    assert f"any number of runs may write from {ready.project}" in found.text
    ready.server.patch(f"/work_pools/{ready.project}", {"concurrency_limit": 3})
    assert "any number of runs" not in Findings(ready, "-e", "staging").text


@pytest.mark.system
def test_postgresql_is_recognised_though_the_settings_mask_it(shop: Shop) -> None:
    if not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        pytest.skip("PostgreSQL is not installed")
    with (
        tempfile.TemporaryDirectory() as folder,  # PostgreSQL's own user has to get there
        started_database(Path(folder), "postgresql") as url,
        started_server(Path(folder), PREFECT_API_DATABASE_CONNECTION_URL=str(url)) as server,
    ):
        found = Findings(shop, "-e", "staging", "--api-url", server.api_url)
    assert found.of("database") == [("ok", None)]


def test_paused_pools_and_queues_and_missing_workers_are_warnings(ready: Shop) -> None:
    ready.server.patch(f"/work_pools/{ready.project}", {"is_paused": True})
    ready.server.post(f"/work_pools/{ready.project}/queues", {"name": "late", "is_paused": True})
    ready.server.delete(f"/work_pools/{ready.project}/workers/w")
    found = Findings(ready)
    assert found.code == 0
    assert found.wrong == {
        ("work pools", "warn", "MF411"),
        ("work queues", "warn", "MF411"),
        ("workers", "warn", "MF412"),
    }
    assert f"queue 'late' of work pool '{ready.project}' is paused" in found.text


def test_a_pool_of_another_type_is_a_failure_and_a_missing_one_is_not(ready: Shop) -> None:
    ready.write(
        "environments/development.yaml",
        {"work_pools": {"python": {"name": ready.project, "type": "docker"}, "docker": f"{ready.project}-none"}},
    )
    found = Findings(ready)
    assert found.code == 1
    assert sorted(found.of("work pools"), key=str) == [("fail", "MF407"), ("warn", "MF410")]


@pytest.mark.parametrize(
    ("version", "code", "wrong"),
    [
        ("3.4.14", 1, {("version", "fail", "MF408")}),
        ("3.99.0", 0, {("version", "warn", "MF803")}),
        ("3.8.99", 0, set()),
    ],
)
def test_the_server_may_be_newer_but_not_older(
    ready: Shop, version: str, code: int, wrong: set[tuple[str, str, str]]
) -> None:
    def rewrite(path: str, _: dict[str, str], body: bytes) -> bytes:
        return json.dumps(version).encode() if path == "/api/admin/version" else body

    with rewritten(ready.server.api_url, rewrite) as api_url:
        found = Findings(ready, "--api-url", api_url)
    assert (found.code, found.wrong) == (code, wrong)


@pytest.mark.parametrize(("seconds", "code", "status"), [(-8, 0, "warn"), (90, 1, "fail")])
def test_a_server_whose_clock_is_wrong_is_named(ready: Shop, seconds: int, code: int, status: str) -> None:
    def rewrite(_: str, headers: dict[str, str], body: bytes) -> bytes:
        now = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        headers["date"] = format_datetime(now, usegmt=True)
        return body

    with rewritten(ready.server.api_url, rewrite) as api_url:
        found = Findings(ready, "--api-url", api_url)
    assert (found.code, found.wrong) == (code, {("clock", status, "MF804")})
    assert ("behind the server's" if seconds > 0 else "ahead of the server's") in found.text


@pytest.mark.system
def test_a_ui_that_asks_where_no_api_is_is_a_failure(shop: Shop, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    with started_server(tmp_path, PREFECT_UI_API_URL=nowhere) as server:
        found = Findings(shop, "--api-url", server.api_url)
    assert found.of("ui") == [("fail", "MF712")]
    assert f"makes browsers call {nowhere}" in found.text


@pytest.mark.system
def test_a_ui_that_its_api_does_not_let_ask_is_a_failure(shop: Shop, tmp_path: Path) -> None:
    narrow = started_server(tmp_path, PREFECT_SERVER_CORS_ALLOWED_ORIGINS="http://ui.example.com")
    narrow.settings["PREFECT_UI_API_URL"] = f"http://localhost:{narrow.port}/api"
    with narrow as server:
        refused = Findings(shop, "--api-url", server.api_url)
        allowed = Findings(shop, "--api-url", server.api_url, PREFECT_UI_URL="http://ui.example.com/")
    assert refused.of("ui") == [("fail", "MF713")]
    assert f"does not allow requests of pages from http://127.0.0.1:{narrow.port}" in refused.text
    assert allowed.of("ui") == [("warn", "MF711")]  # nobody reaches it there


@pytest.mark.system
def test_a_proxy_that_keeps_prefect_from_the_server_is_named_without_its_password(ready: Shop) -> None:
    proxy = f"http://robot:{SECRET}@127.0.0.1:{free_port()}"
    found = Findings(ready, HTTP_PROXY=proxy)
    assert ("proxy", "fail", "MF805") in found.wrong
    assert SECRET not in found.text
    assert Findings(ready, HTTP_PROXY=proxy, NO_PROXY="127.0.0.1").wrong == set()


def test_passwords_in_addresses_are_not_shown(ready: Shop) -> None:
    at = f"http://robot:{SECRET}@127.0.0.1"
    found = Findings(ready, PREFECT_API_URL=ready.server.api_url.replace("http://127.0.0.1", at))
    assert found.of("server") == [("ok", None)]
    assert SECRET not in found.text
    source = {"type": "git", "repository": f"{at}:{free_port()}/flows.git"}
    ready.write("environments/development.yaml", {"work_pools": {"python": ready.project}, "source": source})
    found = Findings(ready)
    assert "MF301" in found.text
    assert SECRET not in found.text


def test_git_is_asked_where_runs_clone(ready: Shop) -> None:
    def with_source(**source: str) -> Findings:
        repository = {"type": "git", "repository": str(ready.root), **source}
        environment = {"work_pools": {"python": ready.project}, "source": repository}
        ready.write("environments/development.yaml", environment)
        return Findings(ready)

    assert with_source().of("git") == [("fail", "MF810")]
    commit = ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "x"]
    for words in (["init", "--quiet", "--initial-branch", "trunk"], commit):
        subprocess.run(["git", *words], cwd=ready.root, check=True)
    assert with_source().wrong == set()
    assert with_source(branch="trunk").wrong == set()
    assert "it has no branch other" in with_source(branch="other").text
    assert "not tried here" in with_source(credentials="{{ prefect.blocks.github-credentials.x }}").text


@pytest.fixture
def in_containers(ready: Shop) -> Callable[..., None]:
    """Say how the environment treats images, with a flow that runs in one."""
    ready.write("flows/a/Dockerfile", "FROM python:3.12-slim\nWORKDIR /app\nCOPY flows/a flows/a\n")
    ready.write("flows/a/deployment.yaml", {"kinds": ["docker"]})

    ready.write("environments/templates/docker.yaml", TEMPLATE)

    def written(**environment: object) -> None:
        pools = {"python": ready.project, "docker": f"{ready.project}-docker"}
        ready.write("environments/development.yaml", {"work_pools": pools, "ignore": ["MF626"], **environment})

    return written


@pytest.mark.parametrize(("strict", "code", "status"), [(False, 0, "warn"), (True, 1, "fail")])
def test_without_an_engine_only_a_strict_environment_fails(
    ready: Shop, in_containers: Callable[..., None], strict: bool, code: int, status: str
) -> None:
    in_containers(strict=strict)
    found = Findings(ready, DOCKER_HOST="unix:///nowhere.sock")
    assert (found.code, found.of("docker")) == (code, [(status, "MF601")])


def test_without_a_login_the_registry_is_named(
    ready: Shop, in_containers: Callable[..., None], locked_registry: Registry
) -> None:
    in_containers(docker={"registry": locked_registry.address})
    assert Findings(ready).of("docker")[-1] == ("fail", "MF606")


def test_an_open_registry_lets_us_in(ready: Shop, in_containers: Callable[..., None], registry: Registry) -> None:
    in_containers(docker={"registry": registry.address})
    assert {status for status, _ in Findings(ready).of("docker")} == {"ok"}


@pytest.mark.system
def test_what_does_not_answer_holds_nothing_up(
    ready: Shop, in_containers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_containers()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(doctor, "TIMEOUT_SECONDS", 5)
        found = Findings(ready)
    assert found.of("docker") == [("fail", "MF801")]
    assert found.of("clock") == [("ok", None)]


def test_a_check_that_breaks_does_not_keep_the_others_from_being_heard(
    ready: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> doctor.CheckResult:
        raise ZeroDivisionError(f"http://robot:{SECRET}@example.com")
        yield

    monkeypatch.setattr(doctor, "ALONE", {**doctor.ALONE, "packages": broken})
    found = Findings(ready)
    assert found.wrong == {("packages", "fail", "MF902")}
    assert SECRET not in found.text
