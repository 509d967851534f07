"""What a deploy does when the server is not as it was left, or refuses a write."""

from __future__ import annotations

import json

from tests.server.deploying.test_deploy import states
from tests.shops import Shop


def test_a_deployment_deleted_by_hand_is_created_again(shop: Shop) -> None:
    shop.deploy()
    gone = shop.live()["a-python-dev"]["id"]
    shop.server.delete(f"/deployments/{gone}")
    assert states(shop.deploy()) == {
        "a-python-dev": "Created",
        "b-python-dev": "Unchanged",
        "c-python-dev": "Unchanged",
    }
    assert shop.live()["a-python-dev"]["id"] != gone


def test_a_write_that_the_server_refuses_fails_alone_where_a_deploy_is_to_continue(shop: Shop) -> None:
    """Environment variables are text to the work pool's template: a number is refused here, or else by the server."""
    shop.write("environments/development.yaml", {"on_failure": "continue"})
    shop.deploy("--flow", "c")
    shop.write("flows/a/deployment.yaml", {"ignore": ["MF414"], "job_variables": {"env": {"PORT": 8080}}})
    for expected in ("Created", "Unchanged"):
        done = shop.meta_flows("deploy", "--json")
        assert done.returncode == 1
        result = json.loads(done.stdout)
        assert states(result) == {"a-python-dev": "Failed", "b-python-dev": expected, "c-python-dev": "Unchanged"}
        (error,) = result["refused"]
        assert error["code"] == "MF503"
        assert "8080" in error["message"]
        assert "storage_key" not in error["message"]
    shop.write("flows/a/deployment.yaml", {"job_variables": {"env": {"PORT": "8080"}}})
    assert states(shop.deploy())["a-python-dev"] == "Created"


def test_nothing_is_deleted_after_a_failure_where_a_deploy_is_to_continue(shop: Shop) -> None:
    shop.write("environments/development.yaml", {"on_failure": "continue", "prune": True, "prune_limit": 1})
    shop.deploy()
    shop.write("flows/a/deployment.yaml", {"ignore": ["MF414"], "job_variables": {"env": {"PORT": 8080}}})
    shop.remove("flows/b")
    done = shop.meta_flows("deploy", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["state"] == "Incomplete"
    assert states(result) == {"a-python-dev": "Failed", "b-python-dev": "NotTried", "c-python-dev": "Unchanged"}
    assert "b-python-dev" in shop.live()
    shop.write("flows/a/deployment.yaml", {})
    assert states(shop.deploy())["b-python-dev"] == "Deleted"


def test_a_work_queue_moves_within_its_pool_and_stays_where_an_operator_put_it(shop: Shop) -> None:
    """The server takes a pool without a queue for the default queue, and a queue without a pool for another pool."""
    shop.write("environments/development.yaml", {"work_pools": {"python": shop.project}})
    shop.deploy("--flow", "a")

    def placed() -> tuple[str, str]:
        live = shop.live()["a-python-dev"]
        return live["work_pool_name"], live["work_queue_name"]

    assert placed() == (shop.project, "default")
    shop.write("flows/a/deployment.yaml", {"work_queue": "fast"})
    shop.deploy("--flow", "a")
    assert placed() == (shop.project, "fast")
    shop.write("flows/a/deployment.yaml", {"work_queue": "fast", "job_variables": {"env": {"A": "1"}}})
    shop.deploy("--flow", "a")
    assert placed() == (shop.project, "fast")
    shop.write("flows/a/deployment.yaml", {"job_variables": {"env": {"A": "2"}}})
    shop.deploy("--flow", "a")
    assert placed() == (shop.project, "default")
    deployment = shop.live()["a-python-dev"]["id"]
    by_hand = {"work_pool_name": shop.project, "work_queue_name": "by-hand"}
    shop.server.patch(f"/deployments/{deployment}", by_hand)
    shop.write("flows/a/deployment.yaml", {"job_variables": {"env": {"A": "3"}}})
    shop.deploy("--flow", "a")
    assert placed() == (shop.project, "by-hand")


def test_max_scheduled_runs_is_kept_from_the_first_deploy_on(shop: Shop) -> None:
    shop.write("flows/a/deployment.yaml", {"schedules": [{"cron": "0 6 * * *", "max_scheduled_runs": 2}]})
    assert states(shop.deploy("--flow", "a")) == {"a-python-dev": "Created"}
    assert shop.live()["a-python-dev"]["schedules"][0]["max_scheduled_runs"] == 2


def test_two_flows_with_one_slug_are_refused_also_when_only_one_is_selected(shop: Shop) -> None:
    for name in "ab":
        shop.write(f"flows/{name}/deployment.yaml", {"slug": "same"})
    done = shop.meta_flows("deploy", "--flow", "a", "--json")
    assert done.returncode == 1
    (error,) = json.loads(done.stdout)["refused"]
    assert (error["code"], error["file_path"]) == ("MF107", "flows/a/workflow.py")
    assert "flows/b/workflow.py" in error["message"]


def test_a_secret_is_refused_whichever_file_or_flag_it_comes_from(shop: Shop) -> None:
    marker = "hunter2-hunter2"
    shop.write(
        "flows/a/workflow.py",
        (shop.root / "flows/a/workflow.py").read_text().replace("count: int = 1", "api_token: str = ''"),
    )
    shop.write("flows/a/deployment.yaml", {})
    shop.write("environments/development.yaml", {"default_parameters": {"api_token": marker}})
    refused = shop.meta_flows("deploy", "--flow", "a")
    shop.write("environments/development.yaml", {})
    template = {"work_pool": "dev-python", "job_variables": {"env": {"DB_PASSWORD": marker}}}
    shop.write("environments/templates/python.yaml", template)
    templated = shop.meta_flows("deploy", "--flow", "b")
    typed = shop.meta_flows("deploy", "--flow", "a", "--parameter", f"api_token={marker}")
    for done, code in ((refused, "MF303"), (templated, "MF301"), (typed, "MF303")):
        assert done.returncode == 1
        assert code in done.stderr
        assert marker not in done.stdout + done.stderr
    assert shop.live() == {}
