"""Client and server of two versions, 3.8 and 3.4, each from an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers import run_meta_flows, started_server
from tests.shops import Shop
from tests.system.prefect_versions.test_life_cycle import live_through_it_all

COMMANDS = (
    "deploy",
    "plan",
    "reconcile",
    "rollback",
    "clean -e dev",
    "validate -e dev",
    "run a",
    "releases",
    "register",
)
VERSION = "from importlib.metadata import version; print(version('prefect'))"


class Pythons(NamedTuple):
    """The interpreters of the environments that `make install` and `make test-prefect-3.4` make."""

    v38: str
    v34: str


@pytest.fixture(scope="session")
def pythons() -> Pythons:
    """Both, whichever of them runs the tests."""
    environment = sys.prefix.removesuffix("-3.4")
    found = Pythons(f"{environment}/bin/python", f"{environment}-3.4/bin/python")
    for python, version in zip(found, ("3.8.", "3.4."), strict=True):
        if not Path(python).exists():
            pytest.skip(f"{python} is not there: `make install test-prefect-3.4` makes both environments")
        asked = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, check=True)
        assert asked.stdout.startswith(version)
    return found


def test_a_server_older_than_the_client_is_refused_before_anything_is_written(tmp_path: Path, pythons: Pythons) -> None:
    with started_server(tmp_path, python=pythons.v34) as server:
        shop = Shop(tmp_path / "shop", server, partial(run_meta_flows, python=pythons.v38))
        for words in COMMANDS:
            done = shop.meta_flows(*words.split(), "--json", NO_COLOR="1")
            assert done.returncode != 0, words
            (error,) = json.loads(done.stdout)["errors"]
            assert error["code"] == "MF408", words
            assert "version 3.4" in error["message"]
        for collection in ("flows", "flow_runs", "deployments", "artifacts", "block_documents"):
            assert server.post(f"/{collection}/filter") == [], collection
        assert server.post("/v2/concurrency_limits/filter") == []


def test_a_client_and_a_worker_older_than_the_server_do_all_that_is_asked(tmp_path: Path, pythons: Pythons) -> None:
    with started_server(tmp_path, python=pythons.v38) as server:
        shop = Shop(tmp_path / "shop", server, partial(run_meta_flows, python=pythons.v34))
        live_through_it_all(shop, pythons.v34, tmp_path / "worker")
