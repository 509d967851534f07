"""Makes the pictures of the Prefect UI in docs/images, on a server and a worker of its own: `make screenshots`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from playwright.sync_api import Page, sync_playwright

from benchmarks.server import Server, started_server
from meta_flows.browser import BROWSERS

REPOSITORY = Path(__file__).parent.parent
IMAGES = REPOSITORY / "docs" / "images"
WIDTH = 1400
PATIENCE_SECONDS = 300
ENVIRONMENT, PROJECT = "staging", "rpa-flows"
CHANGED = "flows/rpa1/deployment.yaml"


class Scene:
    """A copy of this repository with its meta-flows registered, and a browser that looks at what they do."""

    def __init__(self, root: Path, server: Server, page: Page) -> None:
        self.root, self.server, self.page = root, server, page
        self.ui = f"{server.api_url.removesuffix('/api')}/v2"

    def post(self, path: str, **body: object) -> list[dict[str, str]]:
        """What a filter of the API finds."""
        answer = httpx.post(f"{self.server.api_url}{path}", json=body, timeout=60).raise_for_status()
        found: list[dict[str, str]] = answer.json()
        return found

    def picture(self, name: str, height: int) -> None:
        """A picture of the page, without its side bar; text that is still to come gets a moment."""
        self.page.set_viewport_size({"width": WIDTH, "height": height})
        self.page.wait_for_timeout(3000)  # graphs and diagrams are drawn on canvases, which say nothing when done
        left = self.page.locator("main").bounding_box() or {"x": 0}
        clip = {"x": left["x"], "y": 0, "width": WIDTH - left["x"], "height": height}
        self.page.screenshot(path=IMAGES / f"{name}.png", clip=clip)  # type: ignore[arg-type]

    def deploy(self, *, dry_run: bool = False, picture: str = "") -> str:
        """Run deploy-all from its form, until it ends or waits for somebody; its id."""
        [deployment] = self.post("/deployments/filter", deployments={"name": {"any_": [f"deploy-all-{ENVIRONMENT}"]}})
        self.page.set_viewport_size({"width": WIDTH, "height": 1300})
        self.page.goto(f"{self.ui}/deployments/deployment/{deployment['id']}/run")
        self.page.get_by_role("button", name="Select Kinds").click()
        self.page.get_by_role("option", name="python", exact=True).click()
        self.page.keyboard.press("Escape")
        self.page.get_by_role("switch", name="Dry run").set_checked(dry_run)
        if picture:
            self.picture(picture, 1300)
        run = ""
        while not run:  # SQLite may be busy
            with self.page.expect_response("**/create_flow_run") as caught:
                self.page.get_by_role("button", name="Submit").click()
            run = caught.value.json().get("id", "")
        wait_for(lambda: self.state(run) in ("COMPLETED", "FAILED", "CRASHED", "PAUSED"))
        return run

    def state(self, run: str) -> str:
        """The type of a run's state."""
        return str(httpx.get(f"{self.server.api_url}/flow_runs/{run}", timeout=60).json()["state"]["type"])


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once a condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("this took too long; is there a Prefect server or worker that does not start?")
        time.sleep(0.5)


def rewrite(file: Path, old: str, new: str) -> None:
    """Change a file's text, which has to be there."""
    text = file.read_text(encoding="utf-8")
    if old not in text:
        raise SystemExit(f"{file} no longer says {old!r}")
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Everything that the pictures are of; it ends what it has started."""
    root = folder / "repository"
    for name in ("flows", "environments"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with started_server(folder, "sqlite") as server, sync_playwright() as driver:
        for file in (root / "environments").glob("*.yaml"):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace("http://127.0.0.1:4200/api", server.api_url), encoding="utf-8")
        shell = {**server.shell, "PYTHONPATH": str(REPOSITORY), "DOCKER_HOST": f"unix://{folder}/none.sock"}
        register = [sys.executable, "-m", "meta_flows", "register", "--environment", ENVIRONMENT]
        subprocess.run(register, cwd=root, env=shell, check=True, stdout=subprocess.DEVNULL)
        work = [sys.executable, "-m", "prefect", "worker", "start", "--pool", f"{ENVIRONMENT}-meta-flows"]
        with (folder / "worker.log").open("wb") as log:
            worker = subprocess.Popen(work, cwd=root, env=shell, stdout=log, stderr=log)
        try:
            browser = driver.chromium.launch(executable_path=program, args=["--disable-gpu", "--disable-dev-shm-usage"])
            page = browser.new_page(locale="en-US", timezone_id="UTC", reduced_motion="reduce", color_scheme="light")
            page.set_default_timeout(1000 * PATIENCE_SECONDS / 3)
            yield Scene(root, server, page)
        finally:  # the browser ends with its driver
            worker.terminate()
            worker.wait()


def take(shown: Scene) -> None:
    """A dry run, a deploy, one that updates something, and one that waits for its approval."""
    page = shown.page
    shown.deploy(dry_run=True, picture="run-form")
    shown.deploy()
    rewrite(shown.root / CHANGED, "batch_size: 500", "batch_size: 800")
    rewrite(shown.root / "environments/staging.yaml", "use_distributed: true", "use_distributed: false")
    run = shown.deploy()
    page.goto(f"{shown.ui}/runs/flow-run/{run}?tab=TaskRuns")
    page.get_by_role("tabpanel").get_by_role("link").first.wait_for()
    shown.picture("run", 1200)
    written = {"flow_run_id": {"any_": [run]}, "key": {"any_": [f"deploy--{PROJECT}--{ENVIRONMENT}"]}}
    [report] = shown.post("/artifacts/filter", artifacts=written)
    page.goto(f"{shown.ui}/artifacts/artifact/{report['id']}")
    page.get_by_role("heading", name="Deployments", exact=True).first.wait_for()
    shown.picture("report", 1400)
    page.goto(f"{shown.ui}/deployments?tags=%5B%22project%3A{PROJECT}%22%5D")
    page.get_by_role("row").filter(has_text="rpa1-python").wait_for()
    shown.picture("deployments", 1000)

    rewrite(shown.root / "environments/staging.yaml", "use_distributed: false", "use_distributed: true")
    with (shown.root / "environments/staging.yaml").open("a", encoding="utf-8") as file:
        file.write("require_approval: true\n")
    run = shown.deploy()
    page.goto(f"{shown.ui}/runs/flow-run/{run}")
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Select Decision").wait_for()
    page.get_by_role("dialog").get_by_role("textbox", name="Your name").fill("Ada")
    shown.picture("approval", 1000)


if __name__ == "__main__":
    os.umask(0o022)
    with TemporaryDirectory() as temporary, scene(Path(temporary)) as made:
        take(made)
