"""Open the UI in a real browser, and compare what its pages display of each deployment with how that should be.

Playwright drives the Chromium of the machine: the extra `browser` installs Playwright, the operating system Chromium.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from prefect.settings import get_current_settings

from meta_flows.configuration.settings import settings
from meta_flows.diagnostics import MetaFlowsError, diagnostic, refuse
from meta_flows.models import Change, Diagnostic, LiveResource, kebab

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
    """One deployment as the UI shows it: what its page displays wrongly, and a picture of the page."""

    name: str
    findings: tuple[Diagnostic, ...]
    screenshot: Path | None = None


def look_at(changes: Iterable[Change], tags: Iterable[str], ui_url: str, folder: Path) -> list[Seen]:
    """Open the UI, find each deployment in its list, open its page, and compare what is displayed.

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

    def missing_rows() -> list[str]:
        return ["rows"] if rows.count() < min(existing - len(names), LISTED) else []

    for number in count(1):
        url = f"{ui_url}/deployments?limit={LISTED}&page={number}&tags={quote(json.dumps(sorted(tags)))}"
        _open(page, url, lambda: heading, folder / "deployments.jpg")
        _settled(missing_rows)
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
    url = f"{ui_url}/deployments/deployment/{change.live.id}"
    try:
        if wrong := _not_displayed(page, url, change, change.live, picture):
            findings += (diagnostic("MF722", key=change.key, what="; ".join(wrong)),)
    except MetaFlowsError as error:
        findings += error.errors
    except Error as error:
        findings += (diagnostic("MF723", page=url, detail=_first_line(error)),)
    return Seen(change.name, findings, picture if picture.exists() else None)


def _not_displayed(page: Page, url: str, change: Change, live: LiveResource, picture: Path) -> list[str]:
    """Return what a deployment's page does not show as it should be, and take a picture of the page."""
    _open(page, f"{url}?tab=Description", lambda: page.get_by_text(live.id), picture)
    wrong = _settled(lambda: texts_not_displayed(page.locator("body").inner_text(), change.target, live.spec))
    page.screenshot(path=picture, type="jpeg", quality=70)
    tab = page.get_by_role("tab", name="Parameters")
    if tab.count():
        tab.click()
    else:  # the older UI, whose tabs have no such role
        page.goto(f"{url}?tab=Parameters")
    parameters = change.target["parameters"]
    shown: dict[str, str] = {}
    return wrong + (_settled(lambda: _parameters_not_displayed(page, parameters, shown)) if parameters else [])


def _settled(differences: Callable[[], list[str]]) -> list[str]:
    """Return the differences that are left after 5 s, or none as soon as there are none."""
    deadline = time.monotonic() + SETTLING_SECONDS
    while (found := differences()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def texts_not_displayed(text: str, spec: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Return what the page of a deployment does not show as its spec has it, each with what is shown instead.

    Args:
        text: All text that the page displays, with its tab `Description` open.
        spec: How the deployment should be.
        live: How the server has it. A schedule that is right there may be displayed in other words than ours: the UI
            has its own for some cron expressions and for all recurrence rules.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    whole, tags = " ".join(lines), sorted(_section(lines, "Tags"))
    schedules = [line for line in _section(lines, "Schedules", "Triggers") if line not in ("Open menu", "Schedule")]
    missing = []
    for label, field in (("Entrypoint", "entrypoint"), ("Deployment Version", "version")):
        shown = next(iter(_section(lines, label)), "nothing")
        if spec.get(field) and shown != spec[field]:
            missing.append(f"{field} {spec[field]}, but {shown}")
    missing += [f"tag '{tag}', but {', '.join(tags)}" for tag in spec["tags"] if tag not in tags]
    for slug, schedule in spec["schedules"].items():
        words = schedule_as_displayed(schedule["schedule"])
        right = slug in live["schedules"] and live["schedules"][slug]["schedule"] == schedule["schedule"]
        if not {slug, words} & {*schedules} and not (right and len(schedules) == len(spec["schedules"])):
            missing.append(f"schedule '{words}', but {', '.join(schedules) or 'none'}")
    missing += [
        f"description '{_short(block)}'" for block in _blocks(spec.get("description") or "") if block not in whole
    ]
    return missing


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _section(lines: list[str], begin: str, end: str | None = None) -> list[str]:
    """Return the lines below a label, the last one of this text: an earlier one may be part of the description."""
    if begin not in lines:
        return []
    below = lines[len(lines) - lines[::-1].index(begin) :]
    return below[: below.index(end)] if end in below else below


def _blocks(description: str) -> Iterator[str]:
    """Yield the text of a Markdown description as it is displayed, block by block."""
    from markdown_it import MarkdownIt

    for token in MarkdownIt().enable(["table", "strikethrough"]).parse(description):
        inner = token.children or ()
        text = "".join(" " if child.type in ("softbreak", "hardbreak") else child.content for child in inner)
        if words := " ".join(text.split()):
            yield words


def schedule_as_displayed(timing: Mapping[str, Any]) -> str:
    """Return a schedule in the words of the newer UI, or nearly so."""
    if "interval" in timing:
        return f"Every {_duration(timedelta(seconds=timing['interval']))}"
    if "cron" not in timing:
        return str(timing["rrule"])
    from cron_descriptor import get_description

    try:
        return str(get_description(timing["cron"]))
    except Exception:  # noqa: BLE001  # the library has no words for `@daily` and the like
        return str(timing["cron"])


UNITS = {"year": 31_557_600, "month": 2_629_800, "week": 604_800, "day": 86_400, "hour": 3600, "minute": 60}


def _duration(interval: timedelta) -> str:
    """Return a duration in words, e.g. `1 hour, 30 minutes`."""
    left, parts = interval.total_seconds(), []
    for unit, seconds in UNITS.items():
        times, left = divmod(left, seconds)
        parts += [(times, unit)]
    named = [f"{times:g} {unit}{'' if times == 1 else 's'}" for times, unit in (*parts, (left, "second")) if times]
    return ", ".join(named)


def _parameters_not_displayed(page: Page, parameters: Mapping[str, Any], shown: dict[str, str]) -> list[str]:
    """Return the parameters that the open tab `Parameters` does not show as they should be.

    It adds the values that it reads to `shown`, and reads the next page of the table only for those that it lacks.
    """
    page.get_by_role("cell").first.wait_for()
    for number in count(2):
        for row in page.get_by_role("row").all():
            cells = row.get_by_role("cell").all_inner_texts()
            shown |= {cells[0].strip(): cells[1].strip()} if len(cells) > 1 else {}
        next_page = page.get_by_role("button", name="Go to next page")
        if parameters.keys() <= shown.keys() or not next_page.count() or not next_page.first.is_enabled():
            break
        next_page.first.click()
        page.get_by_text(f"Page {number} of").wait_for()
    return [
        f"parameter {name}: {_short(json.dumps(value))}, but {_short(shown.get(name) or 'nothing')}"
        for name, value in parameters.items()
        if not _is_displayed(value, shown.get(name, ""))
    ]


def _is_displayed(value: Any, text: str) -> bool:
    try:
        return text in (value, _joined(value)) or bool(json.loads(text) == value)
    except ValueError:
        return False


def _joined(value: Any) -> str:
    """Return a value as JavaScript converts it to text, as the newer UI displays lists."""
    if isinstance(value, list):
        return ",".join(map(_joined, value))
    if isinstance(value, dict):
        return "[object Object]"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
