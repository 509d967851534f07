"""Meta-flows as deployments: what a worker does when somebody triggers them in the Prefect UI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.shops import Shop

REPOSITORY = Path(__file__).parents[3]


class Triggered:
    """A run of a meta-flow's deployment, executed as a process worker does it."""

    def __init__(self, shop: Shop, flow: str, parameters: dict[str, Any], tags: Sequence[str] = ()) -> None:
        self.server, self.tags = shop.server, tags
        name = flow.replace("_", "-")
        deployment = {
            "name": f"{name}-{shop.project}",
            "flow_id": self.server.post("/flows/", {"name": name})["id"],
            "entrypoint": f"meta_flows/flows/{flow}.py:{flow}",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}],
            "parameters": {"root": str(shop.root), **parameters},
            "parameter_openapi_schema": {"type": "object", "properties": {}},
        }
        created = self.server.post("/deployments/", deployment)
        body = {"tags": list(tags)}
        self.id = self.server.post(f"/deployments/{created['id']}/create_flow_run", body)["id"]
        self.process = self.execute()

    def execute(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", self.id]
        shell = {**os.environ, "PREFECT_API_URL": self.server.api_url}
        return subprocess.Popen(command, env=shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def state(self) -> str:
        name: str = self.server.get(f"/flow_runs/{self.id}")["state"]["name"]
        return name

    def answer(self, text: str) -> None:
        """Submit the form that the UI shows while the run is suspended; a worker then begins it anew."""
        assert self.end() == "Suspended"
        self.server.post(f"/flow_runs/{self.id}/resume", {"run_input": {"environment": text}})
        self.process = self.execute()

    def end(self) -> str:
        self.process.communicate(timeout=180)
        return self.state()


@pytest.mark.parametrize(
    ("flow", "ending"), [("deploy_all", "Deployed"), ("reconcile", "InSync"), ("clean_deployments", "InSync")]
)
def test_a_triggered_meta_flow_does_its_work(shop: Shop, flow: str, ending: str) -> None:
    assert Triggered(shop, flow, {"environment": "development"}).end() == ending


def test_production_is_cleaned_from_the_ui_only_when_its_name_is_typed_into_the_form(shop: Shop) -> None:
    shop.deploy("-e", "production")
    mistaken = Triggered(shop, "clean_deployments", {"environment": "production"})
    mistaken.answer("staging")
    assert mistaken.end() == "Failed"
    assert len(shop.live()) == 3
    confirmed = Triggered(shop, "clean_deployments", {"environment": "production"})
    confirmed.answer("production")
    assert confirmed.end() == "Cleaned"
    assert shop.live() == {}
