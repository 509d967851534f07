"""What `check-ui --browser` finds on the pages of the real UI, in a real Chromium."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployed import Deployed
from tests.waiting import wait_until

SCHEDULES = [
    "0 6 * * 1-5",
    "*/15 * * * *",
    "0 0 1 * *",
    "30 4 1,15 * 5",
    "0 9-17 * * MON-FRI",
    "5 0 * 8 *",
    "23 0-20/2 * * *",
    "0 0,12 1 */2 *",
    "@daily",
    60,
    90,
    3600,
    5400,
    86_400,
    8 * 86_400,
    40 * 86_400,
    400 * 86_400,
]
"""Some that the UI has in the same words as we, and some in others."""

DESCRIPTION = """
Adds up **all** `sales`, see [the wiki](https://example.com/wiki):

1. by region,
2. by *month*

| what | where |
| --- | --- |
| rates | the bank |

> Nothing is
> dropped.
"""


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


def test_everything_is_found_as_it_is_displayed(deployed: Deployed) -> None:
    schedules = [
        {"slug": f"s{number}", "interval" if isinstance(rule, int) else "cron": rule, "active": number % 2 == 0}
        for number, rule in enumerate(SCHEDULES)
    ]
    schedules.append({"slug": "rule", "rrule": "FREQ=WEEKLY;BYDAY=MO,TU"})
    parameters = {
        f"p{number}": value for number, value in enumerate(["text", "", 1.5, True, None, [1, "a"], {"k": "v"}])
    }
    more = {f"q{number}": number for number in range(10)}
    signature = ", ".join(f"{name}=None" for name in {**parameters, **more})
    name = f"{deployed.shop.project.replace('-', '_')}_a"
    source = f'from prefect import flow\n\n@flow(name="{name}")\ndef {name}({signature}):\n    pass\n'
    deployed.shop.write("flows/a/workflow.py", source)
    content = {
        "schedules": schedules,
        "parameters": {**parameters, **more},
        "description": DESCRIPTION,
        "tags": ["Ä b"],
    }
    deployed.shop.write("flows/a/deployment.yaml", content)
    deployed.shop.deploy()
    code, result = deployed.check("--browser")
    assert code == 0, result["refused"]
    folder = deployed.shop.root / "build" / "screenshots" / "development"
    pictures = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert len(pictures) == 4 and all(size > 10_000 for size in pictures.values())
    report = deployed.server.get(f"/artifacts/check-ui--{deployed.shop.project}--development/latest")["data"]
    assert report.count("](data:image/jpeg;base64,") == 3


def test_what_is_displayed_otherwise_is_named(deployed: Deployed) -> None:
    deployed.shop.write(
        "flows/a/deployment.yaml", {"tags": ["sales"], "description": "Adds up.", "parameters": {"count": 2}}
    )
    deployed.shop.deploy()
    tags = deployed.shop.live()["a-python-dev"]["tags"]
    deployed.change("a", description="Typed in the UI.", tags=[*(tag for tag in tags if tag != "sales"), "mine"])
    deployed.change("a", parameters={"count": 7})
    deployed.change_schedule("b", schedule={"cron": "0 8 * * *", "timezone": "UTC"})
    deployed.server.delete(f"/deployments/{deployed.id('c')}")
    code, result = deployed.check("--browser", "--screenshots", str(deployed.shop.root / "pictures"))
    assert (code, {item["code"] for item in result["refused"]}) == (1, {"MF701", "MF702", "MF722", "MF724"}), result[
        "refused"
    ]
    shown = [item["message"].partition(" does not show ") for item in result["refused"] if item["code"] == "MF722"]
    assert [what for _, _, what in shown] == [
        f"tag 'sales', but {', '.join(sorted({*tags, 'mine'} - {'sales'}))}; description 'Adds up.'; "
        "parameter count: 2, but 7",
        "schedule 'At 06:00 AM', but At 08:00 AM",
    ]
    assert [item["code"] for item in result["refused"]].count("MF724") == 1  # c is not in the list
    assert len(list((deployed.shop.root / "pictures").iterdir())) == 3


def test_the_older_ui_is_read_as_well(deployed: Deployed) -> None:
    shell = {"PREFECT_UI_URL": deployed.server.api_url.removesuffix("/api")}
    assert deployed.check("--browser", **shell)[1]["refused"] == []
    deployed.change("a", description="Typed in the UI.", parameters={"count": 7})
    assert deployed.failures("--browser", **shell)["MF722"].endswith("description 'Counts.'; parameter count: 2, but 7")


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
