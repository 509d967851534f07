"""Open the UI in a real browser: it lists each deployment, and the page of each one shows that deployment.

Playwright drives the Chromium of the machine: the extra `browser` installs Playwright, the operating system Chromium.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from prefect.settings import get_current_settings

from meta_flows.configuration.settings import settings
from meta_flows.diagnostics import MetaFlowsError, diagnostic, refuse
from meta_flows.models import Change, Diagnostic, kebab

if TYPE_CHECKING:
    from playwright.sync_api import Error, Locator, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOADS = 3
"""How often a page is loaded before it fails: the UI shows the 503 of a busy SQLite as an error, and stops."""
PATIENCE_SECONDS = 20
"""How long a page may take to show its content."""
SETTLING_SECONDS = 5
"""How long the content of a page may go on changing."""
LISTED = 100
"""Number of deployments on a page of the list, the largest that the UI offers."""


class Seen(NamedTuple):
    """One deployment as the UI shows it: what is wrong with its page, and a picture of the page."""

    name: str
    findings: tuple[Diagnostic, ...]
    screenshot: Path | None = None


def look_at(changes: Iterable[Change], tags: Iterable[str], ui_url: str, folder: Path) -> list[Seen]:
    """Open the UI, find each deployment in its list, and open its page, which has to show its id and its name.

    Args:
        changes: How each deployment should be, and which of them exist.
        tags: Tags that all of them carry.
        ui_url: Address of the UI.
        folder: Folder for pictures of the pages.

    Raises:
        MetaFlowsError: MF721, there is no browser, or no folder for its pictures; MF723, the UI shows no deployments.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refuse("MF721", detail=f"{folder} for its pictures cannot be made: {error.strerror}") from error
    changes = tuple(changes)
    existing = sum(change.live is not None for change in changes)
    with _page(ui_url) as page:
        newer = urlsplit(ui_url).path.endswith("/v2")
        listed = _listed(page, ui_url, tags, existing, folder) if newer else None
        return [_look_at(page, change, ui_url, listed, folder) for change in changes]


@contextmanager
def _page(ui_url: str) -> Iterator[Page]:
    """Start a browser and yield an empty page of it; the browser sends requests to the UI and its API only."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise refuse("MF721", detail="Playwright is not installed") from error
    found = str(settings().browser_path or next(filter(None, map(shutil.which, BROWSERS)), ""))
    if not found or not os.access(found, os.X_OK):
        raise refuse("MF721", detail=f"there is no {found}" if found else f"none of {', '.join(BROWSERS)} is here")
    with sync_playwright() as driver:
        try:
            arguments = ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
            browser = driver.chromium.launch(executable_path=found, args=arguments)
        except Error as error:
            raise refuse("MF721", detail=f"{found} does not start: {_first_line(error)}") from error
        try:
            page = browser.new_page(
                viewport={"width": 1400, "height": 1000}, locale="en-US", timezone_id="UTC", reduced_motion="reduce"
            )
            page.set_default_timeout(PATIENCE_SECONDS * 1000)
            if secret := get_current_settings().api.auth_string:
                password = base64.b64encode(secret.get_secret_value().encode()).decode()
                page.add_init_script(f"localStorage.setItem('prefect-password', {json.dumps(password)})")
            yield page
        except Error as error:
            raise refuse("MF723", page=ui_url, detail=_first_line(error)) from error
        finally:
            browser.close()


def _first_line(error: Error) -> str:
    return error.message.splitlines()[0]


def _open(page: Page, url: str, content: Callable[[], Locator], picture: Path) -> None:
    """Load a page until it shows its content.

    Raises:
        MetaFlowsError: MF723, it never does.
    """
    if any(_shows(page, url, content) for _ in range(LOADS)):
        return
    page.screenshot(path=picture, type="jpeg", quality=70)
    shown = " ".join(page.locator("body").inner_text().split())[-200:]
    raise refuse("MF723", page=url, detail=f"it ends with '{shown}'" if shown else "it stays empty")


def _shows(page: Page, url: str, content: Callable[[], Locator]) -> bool:
    from playwright.sync_api import Error

    try:
        page.goto(url)
        content().first.wait_for()
    except Error:
        return False
    return True


def _listed(page: Page, ui_url: str, tags: Iterable[str], existing: int, folder: Path) -> set[str]:
    """Return the names of all deployments that the UI lists under some tags; wait until it lists as many as exist."""
    names: set[str] = set()
    heading = page.get_by_text(re.compile(r"^[\d,]+ Deployments?$"))  # counts those without the tags, too
    rows = page.get_by_role("row").filter(has=page.get_by_role("link"))

    def await_rows() -> None:
        deadline = time.monotonic() + SETTLING_SECONDS
        while rows.count() < min(existing - len(names), LISTED) and time.monotonic() < deadline:
            page.wait_for_timeout(100)

    for number in count(1):
        url = f"{ui_url}/deployments?limit={LISTED}&page={number}&tags={quote(json.dumps(sorted(tags)))}"
        _open(page, url, lambda: heading, folder / "deployments.jpg")
        await_rows()
        page.screenshot(path=folder / "deployments.jpg", type="jpeg", quality=70)
        listed = [row.get_by_role("link").first.inner_text() for row in rows.all()]
        names |= {*listed}
        if len(listed) < LISTED:
            break
    return names


def _look_at(page: Page, change: Change, ui_url: str, listed: set[str] | None, folder: Path) -> Seen:
    from playwright.sync_api import Error

    picture = folder / f"{kebab(change.key)}.jpg"
    picture.unlink(missing_ok=True)
    findings: tuple[Diagnostic, ...] = ()
    if listed is not None and change.name not in listed:
        findings = (diagnostic("MF724", key=change.key),)
    if change.live is None:
        return Seen(change.name, findings)
    shown = (change.live.id, change.name)
    url = f"{ui_url}/deployments/deployment/{change.live.id}?tab=Description"
    try:
        _open(page, url, lambda: page.locator("body").filter(has_text=shown[0]).filter(has_text=shown[1]), picture)
        page.screenshot(path=picture, type="jpeg", quality=70)
    except MetaFlowsError as error:
        findings += error.errors
    except Error as error:
        findings += (diagnostic("MF723", page=url, detail=_first_line(error)),)
    return Seen(change.name, findings, picture if picture.exists() else None)
