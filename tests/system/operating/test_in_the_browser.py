"""A registered deploy-all as its operators use it: the Prefect UI in a real browser, and a real worker."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from meta_flows.browser import BROWSERS
from tests.desks import Desk, on_postgresql
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Worker = subprocess.Popen[bytes]

PATIENCE = 60_000
"""Milliseconds that a page may take on a busy machine."""


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty page of a browser."""
    driver = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        pytest.skip(f"none of {', '.join(BROWSERS)} is here")
    with driver.sync_playwright() as started:
        arguments = ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=program, args=arguments)
        opened = browser.new_page(viewport={"width": 1400, "height": 1400}, locale="en-US", reduced_motion="reduce")
        opened.set_default_timeout(PATIENCE)
        driver.expect.set_options(timeout=PATIENCE)
        yield opened
        browser.close()


class Screen:
    """The UI, and what an operator does there."""

    def __init__(self, page: Page, desk: Desk) -> None:
        self.page, self.desk = page, desk
        self.url = f"{desk.server.api_url.removesuffix('/api')}/v2"

    def open_form(self, name: str) -> None:
        """Open the run form of a registered meta-flow, on the way that leads there from the list."""
        found = self.desk.registered()[name]
        self.page.goto(f"{self.url}/deployments?flowOrDeploymentName={found['name']}")
        self.page.get_by_role("link", name=found["name"], exact=True).click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.page.get_by_role("switch", name="Dry run").wait_for()

    def choose(self, field: str, *options: str) -> list[str]:
        """Choose from a field of several; all that it offers."""
        self.page.get_by_role("button", name=f"Select {field}").click()
        offered = self.page.get_by_role("option")
        offered.first.wait_for()
        texts = offered.all_inner_texts()
        for option in options:
            self.page.get_by_role("option", name=option, exact=True).click()
        self.page.keyboard.press("Escape")
        offered.first.wait_for(state="hidden")
        return texts

    def submit(self, button: str = "Submit", path: str = "/create_flow_run") -> str:
        """Press a button until the server takes it, as SQLite may be busy (503); the id that it answers with."""
        while True:
            with self.page.expect_response(lambda response: response.url.endswith(path)) as caught:
                # By key: the message of a refusal lies over the button, and stays for as long as the mouse is on it.
                self.page.get_by_role("button", name=button, exact=True).press("Enter")
            if caught.value.status != 503:
                assert caught.value.ok, caught.value.text()
                return str(caught.value.json().get("id", ""))

    def deploy(self, **switches: bool) -> str:
        """Run deploy-all from its form; the run's id."""
        self.open_form("deploy-all-dev")
        for name, on in switches.items():
            self.page.get_by_role("switch", name=name.replace("_", " ").capitalize()).set_checked(on)
        return self.submit()

    def open_report(self, run: str, *texts: str) -> None:
        """Open a run's report, listed in the tab of its artifacts, until it shows these texts; it is drawn in steps."""
        self.page.goto(f"{self.url}/runs/flow-run/{run}?tab=Artifacts")
        key = f"deploy--{self.desk.project}--development"
        self.page.get_by_role("tabpanel").get_by_role("heading", name=key).wait_for()
        [artifact] = self.desk.artifacts(run, "deploy")
        self.page.goto(f"{self.url}/artifacts/artifact/{artifact['id']}")
        self.page.get_by_role("heading", name=": development").first.wait_for()
        self.page.get_by_role("heading", name="Deployments", exact=True).first.wait_for()
        main = self.page.locator("main")
        wait_until(lambda: all(text in (main.text_content() or "") for text in texts))

    def open_question(self, run: str) -> Locator:
        """Open the form of a suspended run."""
        self.page.goto(f"{self.url}/runs/flow-run/{run}")
        self.page.get_by_role("button", name="Open menu").first.click()
        self.page.get_by_role("menuitem", name="Resume").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name="Select Decision").wait_for()
        dialog.get_by_text("development: ").first.wait_for()  # the plan is asked for by a request of its own
        return dialog

    def answer(self, run: str, decision: str, name: str, reason: str) -> str:
        """Answer the question of a suspended run; the text of its form."""
        dialog = self.open_question(run)
        text = dialog.inner_text()
        dialog.get_by_role("button", name="Select Decision").click()
        self.page.get_by_role("option", name=decision, exact=True).click()
        dialog.get_by_role("textbox", name="Your name").fill(name)
        dialog.get_by_role("textbox", name="Reason").fill(reason)
        self.submit("Resume", "/resume")
        return text


@pytest.fixture
def screen(page: Page, desk: Desk) -> Screen:
    return Screen(page, desk)


@on_postgresql
def test_a_dry_run_ends_as_planned_with_the_plan_and_a_run_as_deployed(screen: Screen, worker: Worker) -> None:
    desk = screen.desk
    dry = screen.deploy(dry_run=True)
    assert desk.settled(dry) == "Planned"
    assert desk.live() == {}
    screen.open_report(dry, "Planned: development", "3 to create", *(f"{letter}-python-dev" for letter in "abc"))
    run = screen.deploy()
    assert desk.settled(run) == "Deployed"
    assert len(desk.live()) == 3
    screen.open_report(run, "3 created")


@on_postgresql
def test_a_plan_is_approved_and_rejected_in_the_form_that_shows_it(screen: Screen, worker: Worker) -> None:
    desk = screen.desk
    desk.write("environments/development.yaml", {"require_approval": True})
    first = screen.deploy()
    assert desk.settled(first) == "Suspended"
    shown = screen.answer(first, decision="approve", name="Ada", reason="looked at it")
    assert "development: 3 to create" in shown
    assert "a-python-dev" in shown
    assert desk.settled(first) == "Deployed"
    assert desk.release()["approval"] == "approved by Ada: looked at it"

    desk.write("flows/a/deployment.yaml", {"parameters": {"count": 9}})
    second = screen.deploy()
    assert desk.settled(second) == "Suspended"
    assert "parameters.count: 2 → 9" in screen.answer(second, decision="reject", name="Bob", reason="not on a Friday")
    assert desk.settled(second) == "Rejected"
    assert desk.release()["approval"] == "rejected by Bob: not on a Friday"
    assert desk.live()["a-python-dev"]["parameters"] == {"count": 2}


def test_of_many_changes_the_form_shows_the_first_and_without_a_choice_the_run_goes_on_waiting(
    screen: Screen, worker: Worker
) -> None:
    desk = screen.desk
    desk.write("environments/development.yaml", {"require_approval": True})
    for number in range(40):
        desk.add_flow(f"x{number:02}")
    run = screen.deploy()
    assert desk.settled(run) == "Suspended"
    screen.page.set_viewport_size({"width": 1400, "height": 900})
    dialog = screen.open_question(run)
    assert "development: 43 to create" in dialog.inner_text()
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(dialog.get_by_role("button", name="Select Decision")).to_be_in_viewport()
    [plan] = desk.artifacts(run, "plan")
    link = dialog.get_by_role("link", name="the full plan", exact=True)
    assert (link.get_attribute("href") or "").endswith(f"/artifacts/artifact/{plan['id']}")
    screen.submit("Resume", "/resume")
    screen.page.get_by_text("Validation failed").first.wait_for()
    assert desk.state(run) == "Suspended"
    assert screen.answer(run, decision="reject", name="Bob", reason="too many")
    assert desk.settled(run) == "Rejected"
    assert desk.live() == {}


HOSTILE = "<img src=/hostile.png> <b>bold</b> [here](javascript:alert(1))"


def test_what_others_wrote_is_shown_as_they_wrote_it_and_is_no_part_of_the_page(screen: Screen, worker: Worker) -> None:
    desk = screen.desk
    desk.deploy()
    desk.write("environments/development.yaml", {"require_approval": True})
    desk.write("flows/a/deployment.yaml", {"description": HOSTILE})
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    run = screen.deploy()
    assert desk.settled(run) == "Suspended"
    assert HOSTILE in screen.answer(run, decision="approve", name="<b>Ada</b>", reason=HOSTILE)
    assert desk.settled(run) == "Deployed"
    screen.open_report(run, HOSTILE, "<b>Ada</b>")
    assert screen.page.get_by_role("link", name="here", exact=True).count() == 0
    assert not [url for url in asked if "hostile.png" in url]


def test_the_form_offers_what_there_is_and_keeps_its_environment(screen: Screen) -> None:
    screen.desk.register()
    screen.open_form("deploy-all-dev")
    assert screen.choose("Flows", "a", "c") == ["a", "b", "c"]
    assert screen.choose("Kinds", "python") == ["python"]
    assert screen.choose("Environment") == ["development"]
    text = screen.page.locator("main").inner_text()
    for field in screen.desk.registered()["deploy-all-dev"]["parameter_openapi_schema"]["properties"].values():
        assert field["title"] in text
        assert field["description"] in text
    assert not screen.page.get_by_role("switch", name="Dry run").is_checked()
    run = screen.submit()
    parameters = screen.desk.server.get(f"/flow_runs/{run}")["parameters"]
    assert (parameters["environment"], parameters["flows"], parameters["kinds"]) == (
        "development",
        ["a", "c"],
        ["python"],
    )
