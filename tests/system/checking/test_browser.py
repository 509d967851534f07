"""What `check-ui --browser` finds on the pages of the real UI, in a real Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page

from meta_flows import browser
from tests.deployed import Deployed
from tests.waiting import wait_until


def parent(pid: int) -> int:
    """The process that has started a process; 0 if that has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    parents = {int(folder.name): parent(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    found = {pid}
    while more := {child for child, started_by in parents.items() if started_by in found} - found:
        found |= more
    return found - {pid}


def browsers(pids: set[int]) -> set[int]:
    """Those of the processes that are a browser's, and run."""

    def runs(pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            return b"chrom" in words.partition(b"\0")[0]  # empty once it has ended
        except OSError:
            return False

    return {pid for pid in pids if runs(pid)}


def test_every_page_shows_its_deployment_and_is_photographed(deployed: Deployed) -> None:
    code, result = deployed.check("--browser")
    assert code == 0, result["refused"]
    folder = deployed.shop.root / "build" / "screenshots" / "development"
    pictures = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert len(pictures) == 4 and all(size > 10_000 for size in pictures.values())
    report = deployed.server.get(f"/artifacts/check-ui--{deployed.shop.project}--development/latest")["data"]
    assert report.count("](data:image/jpeg;base64,") == 3


def test_what_the_ui_does_not_list_is_named(deployed: Deployed) -> None:
    deployed.server.delete(f"/deployments/{deployed.id('c')}")
    code, result = deployed.check("--browser", "--screenshots", str(deployed.shop.root / "pictures"))
    found = {item["code"]: item["message"] for item in result["refused"]}
    assert (code, {*found}) == (1, {"MF701", "MF724"}), result["refused"]
    assert "c-python-dev" in found["MF724"]
    assert len(list((deployed.shop.root / "pictures").iterdir())) == 3


def test_a_page_that_shows_another_deployment_fails(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a proxy keeps pages: each page that is asked for shows the first one."""
    opened = Page.goto

    def always_the_first(page: Page, url: str) -> object:
        return opened(page, re.sub(r"(?<=/deployment/)[0-9a-f-]{36}", deployed.id("a"), url))

    monkeypatch.setattr(Page, "goto", always_the_first)
    monkeypatch.setattr(browser, "PATIENCE_SECONDS", 5)
    code, result = deployed.check("--browser")
    assert (code, [item["code"] for item in result["refused"]]) == (1, ["MF723", "MF723"]), result["refused"]


def test_the_older_ui_is_opened_as_well(deployed: Deployed) -> None:
    shell = {"PREFECT_UI_URL": deployed.server.api_url.removesuffix("/api")}
    assert deployed.check("--browser", **shell)[1]["refused"] == []


def test_a_ui_that_cannot_show_anything_is_not_opened(deployed: Deployed) -> None:
    failures = deployed.failures("--browser", PREFECT_UI_URL=deployed.server.api_url)
    assert failures.keys() == {"MF711"}
    assert not (deployed.shop.root / "build").exists()


@pytest.mark.parametrize("named", ["/nowhere/chromium", "/bin/false"])
def test_a_browser_that_does_not_start_is_an_error_with_a_remedy(deployed: Deployed, named: str) -> None:
    done = deployed.shop.meta_flows("check-ui", "--browser", BROWSER_PATH=named)
    assert done.returncode == 1
    assert (
        f"MF721 the UI cannot be opened in a browser: {'there is no ' if 'no' in named else ''}{named}" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_an_error_with_a_remedy(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    assert "Playwright is not installed" in deployed.failures("--browser")["MF721"]


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_browser_ends_with_a_check_that_is_cut_short(deployed: Deployed, way: signal.Signals) -> None:
    command = [sys.executable, "-m", "meta_flows", "check-ui", "--browser"]
    checking = subprocess.Popen(
        command,
        cwd=deployed.shop.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # background jobs ignore it
    )
    try:
        started = wait_until(lambda: browsers(descendants(checking.pid)))
    finally:
        os.kill(checking.pid, way)
        checking.wait(60)
    wait_until(lambda: not browsers(started))
