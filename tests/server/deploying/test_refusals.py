"""Whatever is wrong gives one clear error with its place, no traceback, and nothing is written."""

from __future__ import annotations

import json

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, get_current_settings, temporary_settings

from meta_flows.prefect_api.connection import connected
from tests.servers import free_port, started_server
from tests.shops import Shop

DEVELOPMENT = "environments/development.yaml"
A_FILE = "flows/a/deployment.yaml"

WRONG_FILES = [
    pytest.param(DEVELOPMENT, "strictt: true\n", "MF202", 1, "did you mean 'strict'?", id="unknown key"),
    pytest.param(DEVELOPMENT, "strict: perhaps\n", "MF203", 1, "true or false", id="wrong type"),
    pytest.param(DEVELOPMENT, "strict: [true\n", "MF201", 2, "YAML", id="YAML syntax"),
    pytest.param(A_FILE, "parametres: {count: 1}\n", "MF202", 1, "did you mean 'parameters'?", id="unknown flow key"),
    pytest.param(A_FILE, "tags: []\nschedules: [{cron: 61 * * * *}]\n", "MF205", 2, "cron", id="bad cron"),
    pytest.param(
        A_FILE, "schedules: [{cron: 0 6 * * *, timezone: Europe/Berlim}]\n", "MF206", 1, "Europe/Berlin", id="time zone"
    ),
    pytest.param(A_FILE, "parameters:\n  cuont: 1\n", "MF211", 2, "did you mean 'count'?", id="unknown parameter"),
    pytest.param(
        A_FILE, "environments:\n  prodution: {}\n", "MF204", 2, "production", id="unknown environment section"
    ),
    pytest.param(A_FILE, "tags:\n  - x\n  - project:theirs\n", "MF203", 3, "who owns", id="forged ownership"),
    pytest.param("flows/a/.env.development", "OK=1\nDB_PASSWORD=hunter2\n", "MF301", 2, "Secret block", id="secret"),
]


@pytest.mark.parametrize(("path", "content", "code", "line", "words"), WRONG_FILES)
def test_a_wrong_file_gives_one_error_with_its_line(
    shop: Shop, path: str, content: str, code: str, line: int, words: str
) -> None:
    shop.write(path, content)
    done = shop.meta_flows("deploy", "--flow", "a")
    assert done.returncode == 1
    output = done.stderr
    assert output.count("MF") == 1, output
    assert f"{path}:{line}" in output
    assert code in output
    assert words in output
    assert "Traceback" not in output + done.stdout
    assert shop.live() == {}


def test_an_unknown_environment_is_wrong_use(shop: Shop) -> None:
    done = shop.meta_flows("deploy", "--environment", "stagging")
    assert done.returncode == 2
    assert "MF204" in done.stderr
    assert "did you mean 'staging'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "add --parameter path=..."),
        (("--parameter", "pth=x"), "no parameter 'pth', did you mean 'path'?"),
    ],
)
def test_a_run_that_the_server_or_the_flow_would_refuse_is_not_started(
    shop: Shop, words: tuple[str, ...], says: str
) -> None:
    flow = "from prefect import flow\n@flow(name='{0}-d')\ndef d(path: str, count: int = 1): ...\n"
    shop.write("flows/d/workflow.py", flow.format(shop.project))
    shop.deploy("--flow", "d")
    done = shop.meta_flows("run", "d", *words)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "409" not in done.stderr
    unknown = shop.meta_flows("run", "dd")
    assert "MF506" in unknown.stderr and "did you mean" in unknown.stderr


def test_an_unknown_option_is_wrong_use(shop: Shop) -> None:
    done = shop.meta_flows("deploy", "--nothing-like-it")
    assert done.returncode == 2
    assert "MF901" in done.stderr


def test_a_selection_that_matches_nothing_is_an_error(shop: Shop) -> None:
    done = shop.meta_flows("deploy", "--flow", "no-such-flow")
    assert done.returncode == 1
    assert "MF109" in done.stderr


def test_an_unreachable_server_is_named_and_a_remote_one_is_never_started_here(shop: Shop) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    done = shop.meta_flows("deploy", "--api-url", url)
    assert done.returncode == 1
    assert "MF401" in done.stderr
    assert url in done.stderr
    shop.write(DEVELOPMENT, {"prefect_api_url": "http://prefect.invalid:4200/api"})
    done = shop.meta_flows("deploy")
    assert done.returncode == 1
    assert "MF401" in done.stderr
    assert "prefect.invalid" in done.stderr


def test_an_environment_that_requires_approval_is_not_deployed_without_one(shop: Shop) -> None:
    shop.write(DEVELOPMENT, {"require_approval": True})
    done = shop.meta_flows("deploy")
    assert done.returncode == 1
    assert "MF508" in done.stderr
    assert shop.live() == {}
    assert shop.deploy("--dry-run")["state"] == "Planned"


def test_an_unknown_parameter_is_refused_before_there_is_a_run(shop: Shop) -> None:
    shop.deploy("--flow", "a")
    done = shop.meta_flows("run", "a", "--parameter", "cuont=1")
    assert done.returncode == 1
    assert "MF509" in done.stderr
    assert "did you mean 'count'?" in done.stderr
    flow_id = shop.live()["a-python-dev"]["flow_id"]
    scheduled = {"state": {"type": {"any_": ["SCHEDULED"]}}}
    runs = shop.server.post("/flow_runs/filter", {"flows": {"id": {"any_": [flow_id]}}, "flow_runs": scheduled})
    assert all(run["auto_scheduled"] for run in runs)


@pytest.mark.parametrize("words", [("deploy", "--parameter", "nonsense"), ("run", "a", "--parameter", "=1")])
def test_arguments_are_checked_before_anything_is_started(shop: Shop, words: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    shop.write(DEVELOPMENT, {"prefect_api_url": url})
    done = shop.meta_flows(*words)
    assert done.returncode == 2
    assert "MF901" in done.stderr


def test_a_kind_without_a_work_pool_has_no_worker(shop: Shop) -> None:
    done = shop.meta_flows("worker", "start", "--kind", "docker")
    assert done.returncode == 1
    assert "MF210" in done.stderr


def test_an_address_that_is_not_the_api_is_told_from_a_server_that_is_down(shop: Shop) -> None:
    for url in (shop.server.api_url.removesuffix("/api"), f"{shop.server.api_url}/nothing/here"):
        done = shop.meta_flows("deploy", "--api-url", url)
        assert done.returncode == 1
        assert "MF401" in done.stderr
        assert "ends in /api" in done.stderr


def test_a_folder_that_is_not_there_starts_no_server(shop: Shop) -> None:
    done = shop.meta_flows("deploy", "--root", "/no/such/folder")
    assert done.returncode == 1
    assert "MF215" in done.stderr


def test_a_work_pool_that_the_server_refuses_is_the_reason_given(shop: Shop) -> None:
    """Prefect keeps names that begin with its own for itself."""
    shop.write(DEVELOPMENT, {"work_pools": {"python": "prefect-ours"}})
    done = shop.meta_flows("deploy", "--flow", "a", "--json")
    assert done.returncode == 1
    (error,) = json.loads(done.stdout)["refused"]
    assert error["code"] == "MF503"
    assert "work pool 'prefect-ours' was not changed" in error["message"]
    assert shop.live() == {}


def test_json_output_of_a_refusal_is_one_document(shop: Shop) -> None:
    shop.write(DEVELOPMENT, "strictt: true\n")
    done = shop.meta_flows("deploy", "--json")
    assert [error["code"] for error in json.loads(done.stdout)["errors"]] == ["MF202"]


@pytest.mark.system
def test_outside_development_a_shell_that_disagrees_is_refused(shop: Shop) -> None:
    shop.write("environments/production.yaml", {"prefect_api_url": "http://prefect.invalid:4200/api"})
    done = shop.meta_flows("deploy", "-e", "prod", PREFECT_API_URL=shop.server.api_url)
    assert done.returncode == 1
    assert "MF403" in done.stderr
    assert shop.live() == {}
    shop.deploy("-e", "prod", "--api-url", shop.server.api_url, PREFECT_API_URL=shop.server.api_url)
    assert "a-python-prod" in shop.live()


@pytest.mark.system
def test_in_development_the_shell_says_which_server(shop: Shop) -> None:
    shop.write(DEVELOPMENT, {"prefect_api_url": "http://prefect.invalid:4200/api"})
    shop.deploy(PREFECT_API_URL=shop.server.api_url)
    assert "a-python-dev" in shop.live()


@pytest.mark.system
def test_the_shell_names_environment_and_configuration_folder(shop: Shop) -> None:
    shop.write("elsewhere/defaults.yaml", {"project": shop.project, "prefect_api_url": shop.server.api_url})
    shop.write("elsewhere/lab.yaml", {"short_name": "lab"})
    shop.deploy(DEPLOYMENT_ENV="lab", DEPLOYMENT_CONFIG_PATH=str(shop.root / "elsewhere"))
    assert sorted(shop.live()) == ["a-python-lab", "b-python-lab", "c-python-lab"]


def test_a_flow_whose_import_ends_python_is_refused_alone(shop: Shop) -> None:
    source = (shop.root / "flows/b/workflow.py").read_text()
    shop.write("flows/b/workflow.py", "import os\n" + source + "\nos._exit(3)\n")
    done = shop.meta_flows("deploy", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    (error,) = result["refused"]
    assert (error["code"], error["file_path"]) == ("MF106", "flows/b/workflow.py")
    assert "exit code 3" in error["message"]
    assert sorted(shop.live()) == ["a-python-dev", "c-python-dev"]


@pytest.mark.system
def test_authentication_is_honoured_and_its_absence_named(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("guarded")
    with started_server(home, PREFECT_SERVER_API_AUTH_STRING="admin:right") as guarded:
        shop.write(DEVELOPMENT, {"prefect_api_url": guarded.api_url})
        for shell in ({}, {"PREFECT_API_AUTH_STRING": "admin:wrong"}, {"PREFECT_API_KEY": "pnu_wrong"}):
            done = shop.meta_flows("deploy", **shell)
            assert done.returncode == 1
            assert "MF402" in done.stderr
            assert "Traceback" not in done.stderr
        shop.deploy(PREFECT_API_AUTH_STRING="admin:right")


def test_a_key_of_the_shell_goes_before_a_password_of_a_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack's `.env` is for that stack; Prefect would show its password to every other server, too."""
    for shell, shown in ({}, True), ({"PREFECT_API_KEY": "pnu_other"}, False):
        for name, value in shell.items():
            monkeypatch.setenv(name, value)
        of_a_file = temporary_settings({PREFECT_API_AUTH_STRING: "stack:password"})
        with of_a_file, connected(shop.server.api_url):
            assert bool(get_current_settings().api.auth_string) == shown
