"""Steps that check an environment after a deploy: health, sync, schedules, and the UI."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows import planning
from meta_flows.browser import Seen, look_at
from meta_flows.configuration import Environment
from meta_flows.diagnostics import MetaFlowsError, diagnostic, error_summary
from meta_flows.engine import ApplyResult, joined
from meta_flows.health import GRAVITY, Facts, health, in_words
from meta_flows.models import Change, DeployResult, Diagnostic, Health, LiveResource, Outcome, Release
from meta_flows.planning import history
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import Api, translate_http_errors
from meta_flows.prefect_api.health import read_facts
from meta_flows.prefect_api.store import PrefectStore
from meta_flows.prefect_api.ui import check_ui
from meta_flows.proposals import Proposal
from meta_flows.reporting import counts_in_words, markdown, schedule_in_words
from meta_flows.tasks import step

SYNC = {"create": "Missing", "update": "Drifted", "unchanged": "InSync"}
"""What a deployment is, by what would make it as it was released."""

POLL_SECONDS = 1.0
PICTURES = 6
"""How many screenshots the report shows; each is some 50 KB in the server's database."""


class Inspection(NamedTuple):
    """An environment's deployments as they are, beside how they were released.

    Attributes:
        release: The newest release, if there is any.
        changes: What would bring each deployment back to how it was released.
        live: Those that are on the server, by address.
        facts: What is known of them, by address.
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
    """Compare with the release, and read how everything does, in some ten requests however many deployments."""
    release = store.latest_release(environment.ownership)
    wanted = {at: item for at, item in history.confirmed(release).items() if item.type == "deployment"}
    live = store.read_owned(environment.ownership)
    if missing := wanted.keys() - live.keys():
        live |= store.read(missing)
    policy = planning.Policy(adopt=True, prune=planning.Prune(only=frozenset()))
    plan = planning.make_plan(wanted.values(), wanted, live, environment.ownership, policy=policy)
    return Inspection(release, plan.changes, live, read_facts(store.api, live, wanted))


def outcomes(found: Inspection) -> tuple[Outcome, ...]:
    """What each deployment is, and how it does."""
    now = datetime.now(timezone.utc)
    compared = {change.address: change for change in found.changes}
    return tuple(
        _outcome(compared.get(at), found.live.get(at), found.facts.get(at), now)
        for at in sorted({*compared, *found.live}, key=lambda at: at.rpartition("/")[2])
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


@step("inspect {environment.name}")
def await_runs(store: PrefectStore, environment: Environment, wait: float) -> Inspection:
    """Inspect an environment; where runs are not scheduled that should be, give the scheduler time to do it."""
    deadline = time.monotonic() + wait
    found = inspect(store, environment)
    while found.unscheduled and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        found = inspect(store, environment)
    get_run_logger().info("%s", counts_in_words(outcomes(found), 0))
    return found


@step("check the UI's settings")
def check_settings() -> tuple[Diagnostic, ...]:
    """What keeps browsers from showing what the server has; only this server knows this very run."""
    settings = get_current_settings()
    known = f"/flow_runs/{flow_run.id}"
    return tuple(check_ui(str(settings.ui_url), str(settings.api.url), known))


@step("open the UI in a browser")
def open_ui(environment: Environment, found: Inspection, folder: Path) -> list[Seen]:
    """Look at the page of each deployment; what is wrong with the browser is a finding, too."""
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
    """Sum up what was found, failures first, as an artifact too."""
    rows = outcomes(found)
    wrong = (
        *_differences(environment, found, rows),
        *settings,
        *(finding for page in seen for finding in page.findings),
    )
    healths = Counter[str](row.health.status for row in rows if row.health)
    counts = ", ".join(f"{healths[status]} {status.lower()}" for status in GRAVITY if healths[status])
    result = DeployResult(
        environment=environment.name,
        state="NotVerified" if wrong else "Verified",
        message="; ".join(
            filter(
                None,
                [
                    counts_in_words(rows, 0),
                    counts,
                    f"{len(wrong)} failure{'s' if len(wrong) > 1 else ''}" if wrong else "",
                ],
            )
        ),
        outcomes=rows,
        refused=wrong,
        warnings=_remedies(rows),
        notes=(f"pictures of the pages are in {folder}",) if seen else (),
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )
    key = joined("check-ui", *environment.ownership)
    create_markdown_artifact(markdown(result) + _pictures(seen), key=key, description=result.message)
    return result


def _differences(environment: Environment, found: Inspection, rows: Sequence[Outcome]) -> list[Diagnostic]:
    """What is not as it was released, and what the scheduler leaves undone."""
    if found.release is None or found.release.unfinished:
        detail = f"has an unfinished release, {found.release.id}" if found.release else "has no release"
        return [diagnostic("MF704", environment=environment.name, detail=detail)]
    wrong = [diagnostic("MF701", key=row.key) for row in rows if row.state == "Missing"]
    wrong += [
        diagnostic("MF702", key=row.key, detail=", ".join(field.path for field in row.fields))
        for row in rows
        if row.state == "Drifted"
    ]
    return wrong + ([diagnostic("MF703", schedules=in_words(found.unscheduled))] if found.unscheduled else [])


def _remedies(rows: Sequence[Outcome]) -> tuple[Diagnostic, ...]:
    """Each reason of poor health once, with the deployments that it is about."""
    concerned: dict[Diagnostic, list[str]] = {}
    for row in rows:
        for reason in row.health.reasons if row.health else ():
            if reason.severity == "warning":
                concerned.setdefault(reason, []).append(row.name)
    return tuple(
        reason.model_copy(update={"message": f"{names[0]}{_others(len(names) - 1)}: {reason.message}"})
        for reason, names in concerned.items()
    )


def _others(count: int) -> str:
    return f" and {count} more" if count else ""


def _pictures(seen: Sequence[Seen]) -> str:
    """Screenshots as part of the report, those with findings first."""
    shown = sorted((page for page in seen if page.screenshot), key=lambda page: not page.findings)[:PICTURES]
    lines = [
        f"**{page.name}**\n\n![{page.name}](data:image/jpeg;base64,{base64.b64encode(page.screenshot.read_bytes()).decode()})"
        for page in shown
        if page.screenshot
    ]
    return "\n\n".join(["\n## In the browser", *lines]) + "\n" if lines else ""


@step("look at health")
def check_health(api: Api, proposal: Proposal, carried: ApplyResult | None) -> dict[str, Health]:
    """How the deployments of a plan do, by address, where it was carried out or changes nothing.

    It informs: it waits for nothing, and nothing fails where it cannot be read.
    """
    if (carried and carried.unreachable) or (carried is None and not proposal.plan.in_sync):
        return {}
    now = datetime.now(timezone.utc)
    there = carried.live if carried else proposal.observed.live
    planned = (change for change in proposal.plan.changes if change.type == "deployment")
    live = {change.address: there[change.address] for change in planned if change.address in there}
    try:
        with translate_http_errors():
            facts = read_facts(api, live, proposal.resources)
    except MetaFlowsError as error:
        return dict.fromkeys(live, Health(reasons=(diagnostic("MF737", detail=error_summary(error)),)))
    return {key: health(item, now) for key, item in facts.items()}
