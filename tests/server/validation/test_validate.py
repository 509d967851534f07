"""`validate`: what the command says and leaves out, what its run leaves behind, and what a deploy makes of it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from meta_flows.configuration import Selection
from meta_flows.flows import validate as meta_flow
from meta_flows.validation.pipeline import validate_offline
from tests.server.deploying.test_deploy import states
from tests.servers import free_port
from tests.shops import Shop
from tests.waiting import wait_until


def codes(result: dict[str, Any], key: str = "errors") -> list[str]:
    """The codes of a result, in order."""
    return [error["code"] for error in result[key]]


def poll(shop: Shop, pool: str) -> None:
    """Be a worker of a pool, as far as the server can tell."""
    shop.server.post(f"/work_pools/{pool}/workers/heartbeat", {"name": "someone"})
    wait_until(lambda: shop.server.get(f"/work_pools/{pool}")["status"] == "READY")


@pytest.fixture
def polled(shop: Shop) -> Shop:
    """The same with all that a valid repository needs on its server."""
    shop.write("environments/development.yaml", {"work_pools": {"python": shop.project}})
    shop.deploy()
    poll(shop, shop.project)
    return shop


def test_what_is_valid_is_said_to_be_so_and_left_as_it_was(polled: Shop) -> None:
    before = polled.live()
    done = polled.meta_flows("validate", "-e", "dev", "--json")
    assert json.loads(done.stdout) == {
        "is_valid": True,
        "checked": "3 deployments can be deployed",
        "errors": [],
        "warnings": [],
    }
    assert done.returncode == 0
    assert polled.live() == before


def test_everything_is_said_at_once_and_is_an_artifact(polled: Shop) -> None:
    polled.write("flows/a/workflow.py", "def a(:\n")
    polled.write("flows/b/deployment.yaml", {"job_variables": {"memory": "2Gi"}, "schedules": [{"cron": "0 0 30 2 *"}]})
    polled.write("flows/c/.env", "A=1\nA=2\n")
    polled.server.patch(f"/work_pools/{polled.project}", {"is_paused": True})
    done = polled.meta_flows("validate", "-e", "dev", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert sorted(codes(result)) == ["MF101", "MF222", "MF304"]  # b is refused before the server is asked
    polled.write("flows/b/deployment.yaml", {"job_variables": {"memory": "2Gi"}})
    result = json.loads(polled.meta_flows("validate", "-e", "dev", "--json").stdout)
    assert sorted(codes(result)) == ["MF101", "MF304", "MF413"]
    assert codes(result, "warnings") == ["MF411"]
    found = polled.server.post(
        "/artifacts/latest/filter", {"artifacts": {"key": {"any_": [f"validation--{polled.project}--development"]}}}
    )
    assert [code for code in ("MF101", "MF304", "MF413", "MF411") if code not in found[0]["data"]] == []


def test_its_list_has_a_heading_for_each_file(polled: Shop) -> None:
    polled.write("flows/a/workflow.py", "def a(:\n")
    polled.write("flows/c/.env", "A=1\nA=2\n")
    done = polled.meta_flows("validate", "-e", "dev")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("      ")]
    assert lines == ["flows/a/workflow.py", "flows/c/.env"]
    assert "        2 error MF304 'A' is set twice with different values, first on line 1" in done.stderr.splitlines()
    assert done.stdout.startswith("2 errors, 0 warnings; ")


def test_without_a_server_what_needs_none_is_said_all_the_same(shop: Shop) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    shop.write("flows/c/.env", "A=1\nA=2\n")
    words = ("validate", "-e", "dev", "--json", "--api-url", nowhere)
    asked, offline = shop.meta_flows(*words), shop.meta_flows(*words, "--offline")
    assert codes(json.loads(asked.stdout)) == ["MF401", "MF304"]
    assert codes(json.loads(offline.stdout)) == ["MF304"]
    assert "but for the server" in json.loads(offline.stdout)["checked"]


def test_a_rule_is_ignored_where_a_file_says_so(shop: Shop) -> None:
    source = (shop.root / "flows/a/workflow.py").read_text()
    shop.write("flows/a/workflow.py", source.replace("count: int = 1", "count: int = None"))
    shop.write("flows/a/deployment.yaml", {})

    def found() -> list[str]:
        return codes(json.loads(shop.meta_flows("validate", "-e", "dev", "--offline", "--json").stdout))

    assert found() == ["MF116"]
    shop.write("flows/b/deployment.yaml", {"ignore": ["MF116"]})
    assert found() == ["MF116"]
    shop.write("flows/a/deployment.yaml", {"ignore": ["MF116"]})
    assert found() == []
    assert codes(json.loads(shop.meta_flows("validate", "--json").stdout)) == []
    shop.write("flows/a/deployment.yaml", {"ignore": ["MF101"]})
    assert found() == ["MF203"]


def test_a_flow_is_imported_with_its_variables_and_its_traceback_leads_to_the_line(shop: Shop) -> None:
    source = (shop.root / "flows/a/workflow.py").read_text()
    shop.write("flows/a/workflow.py", f"import os\n\nREGION = os.environ['A_REGION']\n{source}")
    done = shop.meta_flows("validate", "--import", "--json")
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["code"], error["file_path"], error["line_number"]) == ("MF106", "flows/a/workflow.py", 3)
    assert error["message"].endswith("KeyError: 'A_REGION'")
    shop.write("flows/a/.env.development", "A_REGION=north\n")
    assert shop.meta_flows("validate", "--import").returncode == 0


def test_a_deploy_leaves_out_what_a_rule_refuses_and_deploys_the_rest(polled: Shop) -> None:
    polled.write("flows/a/deployment.yaml", {"job_variables": {"memory": "2Gi"}, "description": "new"})
    polled.write("flows/b/deployment.yaml", {"schedules": [{"cron": "0 0 30 2 *"}]})
    polled.write("flows/c/deployment.yaml", {"description": "new"})
    done = polled.meta_flows("deploy", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert states(result) == {"c-python-dev": "Updated"}
    assert sorted(codes(result, "refused")) == ["MF222", "MF413"]
    assert polled.live()["a-python-dev"]["description"] != "new"


def test_a_flow_that_cannot_be_imported_here_is_deployed_with_a_warning(polled: Shop) -> None:
    """What it needs may be where its runs are."""
    polled.write(
        "flows/a/workflow.py", "raise RuntimeError('not here')\n" + (polled.root / "flows/a/workflow.py").read_text()
    )
    result = polled.deploy()
    assert codes(result, "warnings") == ["MF106"]
    assert states(result)["a-python-dev"] == "Updated"


def test_a_server_older_than_the_client_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefect.__version__", "3.99.0")
    done = shop.meta_flows("validate", "-e", "dev", "--json")
    (error,) = json.loads(done.stdout)["errors"]
    assert error["code"] == "MF408"
    assert httpx.get(f"{shop.server.api_url}/admin/version").json() in error["message"]


def test_the_meta_flow_takes_what_the_command_takes() -> None:
    assert {"environment", "flows", "kinds", "pattern", "import_flows", "root"} == set(meta_flow.parameters.properties)


def test_a_selection_checks_the_selected_flows_only(shop: Shop) -> None:
    shop.write("flows/c/.env", "A=1\nA=2\n")
    shop.write("flows/lost/deployment.yaml", {"slug": "lost"})
    everything, _ = validate_offline(shop.root, "dev", Selection(), import_flows=False)
    only_a, _ = validate_offline(shop.root, "dev", Selection(flows=("a",)), import_flows=False)
    assert {error.code for error in everything.errors} == {"MF304", "MF114"}
    assert only_a.errors == ()
