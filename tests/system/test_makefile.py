"""The README's commands, in a copy of this very repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port

HERE = Path(__file__).parents[2]


class Checkout:
    """A checkout in a folder with a space in its name, on a server of its own that is not running yet."""

    def __init__(self, root: Path, home: Path, port: int) -> None:
        self.root, self.home = root, home
        self.api_url = f"http://127.0.0.1:{port}/api"

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a target, with the virtual environment that runs the tests."""
        # Where no Docker is, the kind docker is left out; tests/images has what is done where it is.
        nowhere = f"unix://{self.home}/no-docker.sock"
        environment = {**os.environ, "PREFECT_HOME": str(self.home), "VIRTUAL_ENV": "", "DOCKER_HOST": nowhere}
        return subprocess.run(
            ["make", "--no-print-directory", f"VENV={sys.prefix}", *words],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    root, port = tmp_path / "my checkout", free_port()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HERE, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (HERE / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / name, root / name)
    for file in (root / "pyproject.toml", *root.glob("requirements*.txt")):
        os.utime(file, (0, 0))  # older than what is installed, which stays as it is
    for file in (root / "environments").glob("*.yaml"):
        file.write_text(file.read_text().replace("127.0.0.1:4200", f"127.0.0.1:{port}"))
    made = Checkout(root, tmp_path / "home", port)
    yield made
    made.make("server-stop")


def test_deploy_all_starts_a_server_deploys_and_is_in_sync_the_second_time(checkout: Checkout) -> None:
    first = checkout.make("deploy-all")
    assert first.returncode == 0, first.stdout + first.stderr
    for name in ("rpa1", "rpa2", "rpa3", "polygon-daily-ingestion", "technical-indicators"):
        assert f"{name}-python-dev" in first.stdout
    assert "development is deployed: 10 created" in first.stdout
    assert f"UI: {checkout.api_url.removesuffix('/api')}/v2" in first.stdout
    second = checkout.make("deploy-all")
    assert second.returncode == 0
    assert "development is in sync: 10 unchanged" in second.stdout
    staging = checkout.make("deploy-staging")
    assert "staging is deployed: 10 created" in staging.stdout
    dry = checkout.make("test-deployments", "ENV=prod", "KIND=python")
    assert "production is planned, nothing was written: 10 to create" in dry.stdout
    assert len(httpx.post(f"{checkout.api_url}/deployments/filter", json={}).json()) == 20
    stopped = checkout.make("server-stop")
    assert "stopped" in stopped.stdout
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{checkout.api_url}/health")


def test_discover_flows_prints_the_listing_and_needs_no_server(checkout: Checkout) -> None:
    (checkout.root / "flows/broken").mkdir()
    (checkout.root / "flows/broken/workflow.py").write_text("def broken(:\n")
    done = checkout.make("discover-flows")
    assert done.returncode != 0
    assert done.stdout.splitlines()[:5] == [
        "Discovering flows in flows/ directory...",
        "✗ flows/broken/workflow.py - SyntaxError: invalid syntax (line 1)",
        "    MF101: Fix the syntax; `python -m py_compile flows/broken/workflow.py` shows the same error.",
        "✓ flows/rpa1/workflow.py - RPA1ProcessingFlow",
        "✓ flows/rpa2/workflow.py - RPA2ProcessingFlow",
    ]
    assert done.stdout.splitlines()[-1] == "Found 10 valid flows, 1 invalid flow"


@pytest.mark.parametrize("environment", ["development", "staging", "production"])
def test_validation_finds_nothing_wrong_in_any_environment(checkout: Checkout, environment: str) -> None:
    done = checkout.make("validate-flows", "validate-deployments", f"ENV={environment}", "OFFLINE=true", "IMPORT=true")
    assert done.returncode == 0, done.stderr
    flows, deployments = done.stdout.splitlines()
    assert flows == "0 errors, 0 warnings; 10 flows checked"
    assert deployments.startswith(f"0 errors, 0 warnings; 20 deployments of {environment} checked")


def test_help_lists_every_target_with_a_purpose(checkout: Checkout) -> None:
    listed = checkout.make("help").stdout
    for target in ("deploy-all", "deploy-prod", "discover-flows", "serve-%", "test", "worker"):
        assert f"  {target} " in listed
