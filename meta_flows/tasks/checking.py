"""Steps that verify an environment: the health of a deploy's deployments, and all that `check-ui` looks at.

`check-ui` compares the environment with its release (sync), reads the runs and schedules (health), verifies that
browsers can reach the UI and show it, and reports.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from prefect import get_run_logger
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows import planning
from meta_flows.browser import Seen, look_at
from meta_flows.configuration import Environment
from meta_flows.configuration.schedules import schedule_in_words
from meta_flows.diagnostics import MetaFlowsError, diagnostic, error_summary
from meta_flows.engine import ApplyResult
from meta_flows.health import GRAVITY, Facts, health, in_words
from meta_flows.models import Change, DeployResult, Diagnostic, Health, LiveResource, Outcome, Release
from meta_flows.planning import history
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import Api, translate_http_errors
from meta_flows.prefect_api.health import read_facts
from meta_flows.prefect_api.store import PrefectStore
from meta_flows.prefect_api.ui import find_ui_faults
from meta_flows.proposals import Proposal
from meta_flows.reporting import counts_in_words, health_reasons
from meta_flows.tasks import publish, step

SYNC = {"create": "Missing", "update": "Drifted", "unchanged": "InSync"}
"""A deployment's sync status, by the change that would make it as it was released."""

POLL_SECONDS = 1.0
PICTURES = 6
"""Largest number of screenshots in the report; each takes some 50 KB in the server's database."""


@step("verify health")
def verify_health(api: Api, proposal: Proposal, applied: ApplyResult | None) -> dict[str, Health]:
    """Return the health of a plan's deployments by address, if the plan was applied or is in sync.

    Health informs: this waits for nothing, and where it cannot be read, the run does not fail.
    """
    if (applied and applied.unreachable) or (applied is None and not proposal.plan.in_sync):
        return {}
    now = datetime.now(timezone.utc)
    existing = applied.live if applied else proposal.observed.live
    planned = (change.address for change in proposal.plan.changes if change.type == "deployment")
    live = {address: existing[address] for address in planned if address in existing}
    try:
        with translate_http_errors():
            facts = read_facts(api, live, proposal.resources)
    except MetaFlowsError as error:
        return dict.fromkeys(live, Health(reasons=(diagnostic("MF737", detail=error_summary(error)),)))
    return {address: health(item, now) for address, item in facts.items()}


class Inspection(NamedTuple):
    """An environment's deployments as they are, beside how they were released.

    Attributes:
        release: The newest release, if there is any.
        changes: What would bring each deployment back to how it was released.
        live: The deployments on the server, by address.
        facts: Their runs and schedules, by address.
    """

    release: Release | None
    changes: tuple[Change, ...]
    live: Mapping[str, LiveResource]
    facts: Mapping[str, Facts]

    @property
    def unscheduled(self) -> list[str]:
        """The schedules that should have a run and have none."""
        return [f"{slug} of {at.rpartition('/')[2]}" for at, facts in self.facts.items() for slug in facts.unscheduled]


def inspect(store: PrefectStore, environment: Environment) -> Inspection:
    """Compare an environment with its release and read its health, in ten requests or so per 200 deployments."""
    release = store.latest_release(environment.ownership)
    released = {at: item for at, item in history.confirmed(release).items() if item.type == "deployment"}
    live = store.read_owned(environment.ownership)
    if missing := released.keys() - live.keys():
        live |= store.read(missing)
    policy = planning.Policy(adopt=True, prune=planning.Prune(only=frozenset()))
    plan = planning.make_plan(released.values(), released, live, environment.ownership, policy=policy)
    return Inspection(release, plan.changes, live, read_facts(store.api, live, released))


def outcomes(found: Inspection) -> tuple[Outcome, ...]:
    """Return the sync status and the health of each deployment, by name."""
    now = datetime.now(timezone.utc)
    changes = {change.address: change for change in found.changes}
    return tuple(
        _outcome(changes.get(at), found.live.get(at), found.facts.get(at), now)
        for at in sorted({*changes, *found.live}, key=lambda at: at.rpartition("/")[2])
    )


def _outcome(change: Change | None, live: LiveResource | None, facts: Facts | None, now: datetime) -> Outcome:
    of = change or live
    assert of  # noqa: S101  # each key is from one of them
    spec = live.spec if live else change.target if change else {}
    return Outcome(
        flow_name=of.flow_name,
        name=of.name,
        kind=change.kind if change else "",
        state=SYNC[change.action] if change else "Unreleased",
        fields=change.fields if change and live else (),
        updated=live.updated if live else None,
        link=url_for("deployment", obj_id=live.id) if live else None,
        schedules={slug: schedule_in_words(item) for slug, item in sorted(spec["schedules"].items())},
        health=health(facts, now) if facts else None,
    )


@step("observe {environment.name}")
def observe_runs(store: PrefectStore, environment: Environment, wait: float) -> Inspection:
    """Inspect an environment; give the scheduler `wait` seconds at most to make the scheduled runs that are missing."""
    deadline = time.monotonic() + wait
    found = inspect(store, environment)
    while found.unscheduled and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        found = inspect(store, environment)
    get_run_logger().info("%s", counts_in_words(outcomes(found), 0))
    return found


@step("verify UI settings")
def verify_ui_settings() -> tuple[Diagnostic, ...]:
    """Return what keeps browsers from showing what the server has; only this server knows this very run."""
    settings = get_current_settings()
    return tuple(find_ui_faults(str(settings.ui_url), str(settings.api.url), known=f"/flow_runs/{flow_run.id}"))


@step("verify UI in a browser")
def verify_ui_in_browser(environment: Environment, found: Inspection, folder: Path) -> list[Seen]:
    """Open the page of each deployment, which has to show it; without a browser, that is the only finding."""
    tags = environment.ownership.tags
    try:
        seen = look_at(found.changes, tags, str(get_current_settings().ui_url), folder)
    except MetaFlowsError as error:
        return [Seen("", error.errors)]
    get_run_logger().info("Looked at %d deployments; pictures are in %s", len(seen), folder)
    return seen


@step("report")
def report_check(
    environment: Environment, found: Inspection, settings: Sequence[Diagnostic], seen: Sequence[Seen], folder: Path
) -> DeployResult:
    """Sum up the findings, failures first, as an artifact too."""
    rows = outcomes(found)
    failures = (
        *_differences(environment, found, rows),
        *settings,
        *(finding for page in seen for finding in page.findings),
    )
    statuses = Counter[str](row.health.status for row in rows if row.health)
    counts = [
        counts_in_words(rows, 0),
        ", ".join(f"{statuses[status]} {status.lower()}" for status in GRAVITY if statuses[status]),
        f"{len(failures)} failure{'s' if len(failures) > 1 else ''}" if failures else "",
    ]
    result = DeployResult(
        environment=environment.name,
        state="NotVerified" if failures else "Verified",
        message="; ".join(filter(None, counts)),
        outcomes=rows,
        refused=failures,
        warnings=tuple(item for item in health_reasons(rows) if item.severity == "warning"),
        notes=(f"pictures of the pages are in {folder}",) if seen else (),
    )
    return publish(result, "check-ui", environment.ownership, appendix=_pictures(seen))


def _differences(environment: Environment, found: Inspection, rows: Sequence[Outcome]) -> list[Diagnostic]:
    """Return what differs from the release, and the schedules without a run."""
    if found.release is None or found.release.unfinished:
        detail = f"has an unfinished release, {found.release.id}" if found.release else "has no release"
        return [diagnostic("MF704", environment=environment.name, detail=detail)]
    missing = [diagnostic("MF701", key=row.key) for row in rows if row.state == "Missing"]
    drifted = [
        diagnostic("MF702", key=row.key, detail=", ".join(field.path for field in row.fields))
        for row in rows
        if row.state == "Drifted"
    ]
    unscheduled = [diagnostic("MF703", schedules=in_words(found.unscheduled))] if found.unscheduled else []
    return missing + drifted + unscheduled


def _pictures(seen: Sequence[Seen]) -> str:
    """Return the first screenshots as part of the report, those of pages with findings before the others."""
    taken = [(page, page.screenshot) for page in seen if page.screenshot]
    taken.sort(key=lambda item: not item[0].findings)
    lines = []
    for page, screenshot in taken[:PICTURES]:
        data = base64.b64encode(screenshot.read_bytes()).decode()
        lines.append(f"**{page.name}**\n\n![{page.name}](data:image/jpeg;base64,{data})")
    return "\n\n".join(["\n## In the browser", *lines]) + "\n" if lines else ""
