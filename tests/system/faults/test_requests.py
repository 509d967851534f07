"""What an unchanged deploy costs the server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.system.faults.conftest import Lanes
from tests.system.faults.proxy import Proxy
from tests.system.faults.scene import DAILY, Scene

PAGED = ("POST /api/deployments/filter", "POST /api/flows/filter", "POST /api/flow_runs/filter")


def scheduled_runs(scene: Scene) -> set[str]:
    """Ids of all scheduled runs of the project's deployments."""
    body = {
        "deployments": {"tags": {"all_": [f"project:{scene.project}"]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    return {run["id"] for run in scene.server.post("/flow_runs/filter", body)}


def unchanged_deploy(scene: Scene, count: int) -> Counter[str]:
    """The requests of a deploy of so many flows that are all deployed already."""
    scene.write_flows({f"flow-{number}": {"schedules": [DAILY]} if number < 10 else {} for number in range(count)})
    scene.deploy()
    live = scene.server.deployments(scene.project)
    for number in range(10):
        path = f"/deployments/{live[f'flow-{number}-python-dev']['id']}/schedule"
        scene.server.post(path, {"min_runs": 3, "max_runs": 3})
    runs = scheduled_runs(scene)
    assert len(runs) == 30
    assert scene.deploy()["state"] == "InSync"
    assert scene.proxy.writes == []
    assert scheduled_runs(scene) == runs
    return scene.proxy.counts()


def test_an_unchanged_deploy_writes_nothing_and_asks_for_210_deployments_what_it_asks_for_30_but_for_a_second_page(
    lanes: Lanes, tmp_path: Path
) -> None:
    server = lanes[0].scene.server
    with Proxy(server.api_url) as proxy:
        scene = Scene(tmp_path, server, proxy)
        few, many = unchanged_deploy(scene, 30), unchanged_deploy(scene, 210)
    assert [few.pop(read) for read in PAGED] == [1, 1, 3]
    assert [many.pop(read) for read in PAGED] == [2, 2, 5]  # only ten have a schedule, and so a next run
    assert many == few
