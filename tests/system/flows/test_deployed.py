"""The trading flows as deployments of this repository, on a real server and a real worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.server.flows.trading.conftest import rows
from tests.server.flows.trading.vendors import Answer, Vendors
from tests.servers import Command, Server
from tests.shops import Shop
from tests.workers import development_worker

ROOT = Path(__file__).parents[3]
INGESTION = {
    "polygon-daily-ingestion",
    "polygon-intraday-ingestion",
    "yahoo-history-ingestion",
    "yahoo-quotes-ingestion",
}
FLOWS = {*INGESTION, "market-data-cleanup", "market-data-validation", "technical-indicators"}


class Checkout(Shop):
    """This repository's flows and environments as a project of its own."""

    def __init__(self, root: Path, server: Server, command: Command) -> None:
        super().__init__(root, server, command)
        for folder in ("flows", "environments"):
            self.remove(folder)
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "output"))
        for name in ("requirements.txt", ".dockerignore"):
            shutil.copy(ROOT / name, root)
        self.change("environments/defaults.yaml", project=self.project)
        for name in ("defaults", "staging", "production"):
            self.change(f"environments/{name}.yaml", prefect_api_url=self.server.api_url)
        self.change(
            "environments/development.yaml", work_pools={"python": self.project, "docker": f"{self.project}-docker"}
        )

    def change(self, path: str, **values: Any) -> None:
        """Change keys of a file."""
        self.write(path, {**yaml.safe_load((self.root / path).read_text()), **values})


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Checkout:
    """The repository, with its trading flows deployed to development."""

    def command(*words: str, cwd: Path, **shell: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "meta_flows", *words]
        environment = {**os.environ, "COLUMNS": "200", **shell}
        return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)

    made = Checkout(tmp_path_factory.mktemp("checkout"), server, command)
    made.deploy("--kind", "python", "--flow", "trading")
    return made


def worker(checkout: Checkout, **shell: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker that passes these variables on to its runs."""
    return development_worker(checkout.root, checkout.project, checkout.server, checkout.root, **shell)


def test_every_flow_is_deployed_under_its_own_name_by_one_file(checkout: Checkout) -> None:
    live = checkout.live()
    assert set(live) == {f"{name}-python-dev" for name in FLOWS}
    zones = {schedule["schedule"]["timezone"] for item in live.values() for schedule in item["schedules"]}
    assert zones == {"America/New_York"}


def test_a_change_in_a_shared_module_plans_an_update_of_exactly_those_who_import_it(checkout: Checkout) -> None:
    module = checkout.root / "flows/trading/tasks/data_ingestion_tasks.py"
    before = module.read_text()
    module.write_text(f"{before}# changed\n")
    try:
        done = checkout.meta_flows("plan", "--json", "--kind", "python", "--flow", "trading")
    finally:
        module.write_text(before)
    rows = json.loads(done.stdout)["outcomes"]
    outcomes = {row["flow_name"]: row["state"] for row in rows if row["type"] == "deployment"}
    assert outcomes == {name: "ToUpdate" if name in INGESTION else "Unchanged" for name in FLOWS}


@pytest.mark.parametrize("environment", ["development", "staging", "production"])
def test_no_environment_has_anything_that_a_rule_warns_of(checkout: Checkout, environment: str) -> None:
    checkout.deploy("--kind", "python", "--flow", "trading", "--environment", environment)
    done = checkout.meta_flows(
        "validate", "--json", "--environment", environment, "--flow", "trading", "--kind", "python"
    )
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert {warning["code"] for warning in found["warnings"]} <= {"MF412"}  # no worker is running


def test_environments_differ_in_symbols_retention_and_prefects_own_settings(checkout: Checkout) -> None:
    for environment in ("staging", "production"):
        checkout.deploy("--kind", "python", "--flow", "trading", "--environment", environment)
    live = checkout.live()

    def differing(slug: str, key: str) -> list[Any]:
        found = [live[f"{slug}-python-{short}"] for short in ("dev", "staging", "prod")]
        return [item["parameters"].get(key) or item["job_variables"]["env"].get(key) for item in found]

    symbols = [len(value.split()) for value in differing("polygon-daily-ingestion", "TRADING_SYMBOLS")]
    assert symbols == sorted(set(symbols))
    assert [value and value["quotes"] for value in differing("market-data-cleanup", "retention")] == [None, 7, 90]
    databases = differing("market-data-cleanup", "TRADING_DATABASE_URL")
    assert len(set(databases)) == 3, "staging keeps less than production, so they must not share a database"
    assert differing("technical-indicators", "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS") == ["4", "4", "8"]
    assert differing("technical-indicators", "use_distributed") == [None, True, True]


def test_a_run_by_a_worker_ingests_with_the_settings_of_its_environment(checkout: Checkout, vendors: Vendors) -> None:
    settings = {
        "TRADING_POLYGON_URL": vendors.url,
        "TRADING_POLYGON_API_KEY": "key-of-the-tests",
        "TRADING_POLYGON_REQUESTS_PER_MINUTE": "60000",
    }
    with worker(checkout, **settings):
        for _ in range(2):
            vendors.says("AAPL", Answer(429, headers={"Retry-After": "0"}))
            done = checkout.meta_flows("run", "polygon-daily-ingestion", "--json", "--timeout", "300")
            assert done.returncode == 0, done.stdout + done.stderr
            ended = json.loads(done.stdout)
            assert ended["state"] == "Completed"
            log = "\n".join(ended["logs"])
            assert "AAPL" in log and "too many requests, the next one in 0 s" in log  # by PREFECT_LOGGING_EXTRA_LOGGERS
    stored = rows(f"sqlite:///{checkout.root}/flows/trading/output/development.db")
    assert {row["symbol"] for row in stored} == {"AAPL", "MSFT"}
    assert len(stored) == len({(row["symbol"], row["at"]) for row in stored}) > 0


def test_a_run_without_a_key_fails_and_names_the_block_that_is_missing(checkout: Checkout, vendors: Vendors) -> None:
    with worker(checkout, TRADING_POLYGON_URL=vendors.url):
        done = checkout.meta_flows("run", "polygon-daily-ingestion", "--json", "--timeout", "300")
    assert done.returncode == 1
    assert "create the Secret block 'polygon-api-key'" in "\n".join(json.loads(done.stdout)["logs"])
    assert vendors.paths == []


PROBE = """
from prefect import flow
from prefect.settings import get_current_settings

@flow(name="{name}", log_prints=True)
def probe() -> None:
    settings = get_current_settings()
    print(f"threads={{settings.tasks.runner.thread_pool_max_workers}} retries={{settings.flows.default_retries}}")
"""


def test_prefects_settings_come_from_the_deployment_and_for_the_rest_from_the_worker(checkout: Checkout) -> None:
    """A worker passes its own settings on, `prefect.toml` where it was started included; `env` goes before them."""
    checkout.write("flows/probe.py", PROBE.format(name=f"{checkout.project}-probe"))
    threads = {"env": {"PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "5"}}
    checkout.write("flows/deployment.yaml", {"slug": "probe", "job_variables": threads})
    settings = "[tasks.runner]\nthread_pool_max_workers = 3\n[flows]\ndefault_retries = 2\n"
    checkout.write("prefect.toml", settings)
    try:
        checkout.deploy("--kind", "python", "--flow", f"{checkout.project}-probe")
        with worker(checkout):
            done = checkout.meta_flows("run", "probe", "--json", "--timeout", "300")
        assert "threads=5 retries=2" in json.loads(done.stdout)["logs"], done.stdout + done.stderr
    finally:
        for name in ("prefect.toml", "flows/deployment.yaml", "flows/probe.py"):
            (checkout.root / name).unlink()
