"""Run a meta-flow for a command, here or as it is registered on the server, and print how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from inspect import signature
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.settings import get_current_settings
from rich.prompt import Confirm
from rich.text import Text

from meta_flows.cli.options import LocalOrRemote, OnServer
from meta_flows.cli.output import err, note, out, print_diagnostics, print_json, print_log, print_table, progress_bar
from meta_flows.configuration import Environment, Selection, configure, load_environment
from meta_flows.desired.parameter_schemas import importing
from meta_flows.desired.registration import owner, registered_name
from meta_flows.diagnostics import MetaFlowsError, error_summary, refuse
from meta_flows.discovery import discover
from meta_flows.local_server import connect
from meta_flows.models import DeployResult, LiveResource, Outcome
from meta_flows.prefect_api import runs
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import Api, client
from meta_flows.prefect_api.progress import watching
from meta_flows.prefect_api.reads import has_live_worker, read_deployment
from meta_flows.prefect_api.runs import FlowRun
from meta_flows.reporting import (
    FAILED,
    HEALTH,
    OUTCOMES,
    RESULTS,
    changes_in_words,
    deployments,
    health_in_words,
    health_reasons,
    others,
    runs_in_words,
    titled,
)
from meta_flows.tasks.report import forget_results, newest_result, result_of

CHANGED_JUST_NOW = "MF736"
"""A reason of health that says nothing to the one who has just deployed."""


def run_approved(
    activity: str, meta_flow: Flow[..., Any], on: LocalOrRemote, *, dry_run: bool, yes: bool, **arguments: Any
) -> DeployResult:
    """Run a meta-flow once its plan is approved on the terminal, where the environment requires approval.

    Args:
        activity: What it does, for people.
        meta_flow: Takes `dry_run`, and as `approved` the digest of the plan that may be applied.
        on: Where; a run on the server asks there, by its form.
        dry_run: Only plan.
        yes: Approve the plan, whatever it is.
        **arguments: The other arguments of the meta-flow.

    Raises:
        MetaFlowsError: MF901, `yes` for a run that asks by its form; and what the meta-flow refuses as a whole.
    """
    needs_approval = load_environment(on.repository, on.environment).require_approval
    if needs_approval and yes and on.remote:
        raise refuse("MF901", detail="--yes goes without --remote: a run on the server is approved in the Prefect UI")
    approved = "any" if yes and not on.remote else None
    if needs_approval and not (dry_run or yes or on.remote) and err.is_terminal:
        planned = run_meta_flow("Planning", meta_flow, on, dry_run=True, **arguments)
        blocked = any(error.code == "MF504" for error in planned.refused)
        if planned.plan is None or blocked:
            return planned
        if not planned.plan.in_sync:  # otherwise there may still be an image to build, or a release to close
            show(planned)
            if not Confirm.ask("Carry out this plan?", console=err, default=False):
                rejected = run_meta_flow("Recording", meta_flow, on, approved="none", **arguments)
                return rejected if on.wants_json else rejected.model_copy(update={"outcomes": ()})  # they were shown
        approved = planned.plan.digest
    return run_meta_flow(activity, meta_flow, on, remote=on.remote, dry_run=dry_run, approved=approved, **arguments)


def run_meta_flow(
    activity: str,
    meta_flow: Flow[..., Any],
    on: OnServer,
    *,
    remote: bool = False,
    start_local: bool = True,
    **arguments: Any,
) -> DeployResult:
    """Run a meta-flow on the environment's server, here or as it is registered there.

    Returns:
        Its result, also of one that was incomplete; of a remote run only how it ended.

    Raises:
        MetaFlowsError: It was refused as a whole.
    """
    start_local = start_local and not remote
    with (
        importing(fork=True),
        connect(
            on.environment, root=on.repository, api_url=on.api_url, start_local=start_local, on_start=note
        ) as environment,
    ):
        if remote:
            return _run_registered(meta_flow, environment, on, arguments)
        with progress_bar(f"{activity} {environment.name}") as bar, watching(bar):
            forget_results()
            try:
                state: Any = meta_flow(environment.name, root=on.repository, return_state=True, **arguments)
                ended = result_of(state)
            except Exception:  # a server that is gone takes no state; the result is here all the same
                ended = newest_result()
                if ended is None:
                    raise
            except KeyboardInterrupt:
                err.print("Stopped. `meta-flows releases` shows whether a release was begun, and how it ended.")
                raise SystemExit(130) from None
    if isinstance(ended, DeployResult):
        return ended
    if isinstance(ended, MetaFlowsError):
        raise ended
    raise RuntimeError(error_summary(ended)) from ended


Rows = Callable[[Sequence[Outcome], bool], tuple[Sequence[str], list[list[str | Text]]]]
"""Returns the columns and the rows of a table of deployments, short or wide."""


def conclude(result: DeployResult, on: OnServer, rows: Rows | None = None) -> int:
    """Print how a meta-flow ended, and return the exit code."""
    if on.wants_json:
        print_json(result)
    else:
        show(result, rows or change_rows, wide=on.format == "wide")
    return 1 if result.state in FAILED else 0


def change_rows(outcomes: Sequence[Outcome], wide: bool) -> tuple[Sequence[str], list[list[str | Text]]]:
    """Return a row for each deployment: what was done, or would be done, to it, and its health."""
    columns = ["deployment", "change", "health", *(["flow", "kind", "schedule", "link"] if wide else [])]
    return columns, [
        [
            row.name,
            _state(row),
            health_text(row),
            *([row.flow_name, row.kind, "\n".join(row.schedules.values()), row.link or ""] if wide else []),
        ]
        for row in outcomes
    ]


def standing_rows(outcomes: Sequence[Outcome], wide: bool) -> tuple[Sequence[str], list[list[str | Text]]]:
    """Return a row for each deployment: whether it is in sync, its health, and when it runs."""
    columns = ["deployment", "sync", "health", "next run", "last run", *(["schedule", "link"] if wide else [])]
    return columns, [
        [
            row.name,
            _state(row),
            health_text(row, why=wide),
            *runs_in_words(row.health),
            *(["\n".join(row.schedules.values()), row.link or ""] if wide else []),
        ]
        for row in outcomes
    ]


def _state(row: Outcome) -> Text:
    text = f"{row.state} ({row.reason})" if row.reason else row.state
    return Text(text, style=OUTCOMES[row.state][1])


def health_text(row: Outcome, *, why: bool = False) -> Text:
    """Return the health of a deployment in its colour, with the reasons if asked for."""
    if row.health is None:
        return Text()
    return Text(health_in_words(row.health) if why else row.health.status, style=HEALTH[row.health.status])


def show(result: DeployResult, rows: Rows = change_rows, *, wide: bool = False) -> None:
    """Print a result for people."""
    if resources := others(result.outcomes):
        print_table(
            ("resource", "change", "type", "link") if wide else ("resource", "change"),
            ([titled(row), _state(row), *([row.kind, row.link or ""] if wide else [])] for row in resources),
            wide=wide,
        )
    if shown := deployments(result.outcomes):
        print_table(*rows(shown, wide), wide=wide)
    for title, fields in changes_in_words(result):
        out.print(Text(f"\n{title}", style="bold"))
        for field in fields:
            out.print(Text(f"  {field}"))
    if result.outcomes:
        out.print()
    known_codes = {CHANGED_JUST_NOW, *(error.code for error in result.refused)}
    reasons = (item for item in health_reasons(shown, known=result.warnings) if item.code not in known_codes)
    print_diagnostics((*result.refused, *result.warnings, *reasons))
    for text in result.notes:
        note(f"note: {text}")
    out.print(
        Text(f"{result.environment} is {RESULTS.get(result.state, result.state)}: {result.message}", style="bold")
    )
    if result.ui_url:
        out.print(f"UI: {result.ui_url}\nrun: {result.run_link}")


def _run_registered(
    meta_flow: Flow[..., Any], environment: Environment, on: OnServer, arguments: Mapping[str, Any]
) -> DeployResult:
    """Run the registered deployment of a meta-flow to its end; only arguments unlike their defaults are passed.

    Raises:
        MetaFlowsError: MF531, it is not registered; MF532, it was registered before a flow was there.
    """
    defaults = {name: parameter.default for name, parameter in signature(meta_flow.fn).parameters.items()}
    given = {name: value for name, value in arguments.items() if value != defaults[name] and value not in ([], {})}
    with client() as api:
        deployment = _registered(api, meta_flow.name, environment)
        if "flows" in given:
            given["flows"] = _slugs(environment, on, given["flows"])
            _ensure_offered(deployment, given["flows"])
        ended = _follow_or_cancel(api, start_run(api, deployment, given))
    state = ended.state
    assert state is not None  # noqa: S101  # it has ended
    return DeployResult(
        environment=environment.name,
        state=state.name if state.name in RESULTS else state.type.value.capitalize(),
        message=state.message or "",
        run_link=url_for("flow-run", obj_id=ended.id),
        ui_url=get_current_settings().ui_url,
    )


def _registered(api: Api, flow: str, environment: Environment) -> LiveResource:
    """Return the deployment of a meta-flow for an environment, if this project owns it."""
    key = f"{flow}/{registered_name(flow, environment)}"
    found = read_deployment(api, *key.split("/"))
    if found is None or not {*owner(environment).ownership.tags} <= {*found.spec["tags"]}:
        raise refuse("MF531", key=key, project=environment.project, environment=environment.name, url=api.api_url)
    return found


def _slugs(environment: Environment, on: OnServer, globs: Sequence[str]) -> list[str]:
    """Return the slugs of the flows that globs select here, since a run form takes no globs."""
    selection = Selection(flows=tuple(globs))
    configured = configure(on.repository, discover(on.repository), environment, selection, parameters={})
    if configured.refused:
        raise MetaFlowsError(configured.refused)
    return sorted({item.configuration.slug for item in configured.flows})


def _ensure_offered(deployment: LiveResource, slugs: Sequence[str]) -> None:
    """Refuse flows that the registered form does not have."""
    schema = deployment.spec["parameter_openapi_schema"] or {}
    offered = schema.get("properties", {}).get("flows", {}).get("items", {}).get("enum", slugs)
    if unknown := [f"'{slug}'" for slug in slugs if slug not in offered]:
        raise refuse("MF532", key=deployment.key, flows=", ".join(unknown))


def start_run(api: Api, deployment: LiveResource, parameters: Mapping[str, Any]) -> FlowRun:
    """Start a run of a deployment, and print its link and whether a worker polls its pool."""
    started, pool = runs.start_run(api, deployment, parameters), deployment.spec["work_pool_name"]
    err.print(f"{deployment.name}: run {started.name}\n{url_for('flow-run', obj_id=started.id)}")
    if pool and not has_live_worker(api, pool):
        err.print(Text(f"no worker polls '{pool}' yet: start one with `meta-flows worker start`", style="yellow"))
    return started


def _follow_or_cancel(api: Api, run: FlowRun) -> FlowRun:
    """Return the run when it has ended; Ctrl-C asks whether to cancel it, and a second one leaves it running."""
    seen: dict[UUID, datetime] = {}
    try:
        try:
            return _follow(api, run, seen)
        except KeyboardInterrupt:
            if not _wants_to_cancel():
                raise
            runs.cancel_run(api, run)
            return _follow(api, run, seen)
    except KeyboardInterrupt:
        err.print(Text(f"\n{run.name} is left running:\n{url_for('flow-run', obj_id=run.id)}"))
        raise SystemExit(130) from None


def _wants_to_cancel() -> bool:
    if not (err.is_terminal and sys.stdin.isatty()):
        return False
    return Confirm.ask("\nCancel the run?", default=False, console=err)


def _follow(api: Api, run: FlowRun, seen: dict[UUID, datetime]) -> FlowRun:
    """Print the states and log lines of a run until it has ended."""
    last_state = ""
    for now, lines in runs.follow(api, run, seen):
        for line in lines:
            print_log(err, line)
        state = now.state
        if state is not None and state.name != last_state:
            last_state = state.name or ""
            err.print(Text(f"{now.name}: {last_state}", style="dim"))
            if state.is_paused():
                link = url_for("flow-run", obj_id=now.id)
                err.print(Text(f"It waits for an answer: {link}, menu with three dots, Resume", style="yellow"))
        run = now
    return run
