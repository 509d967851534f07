"""Run a meta-flow for a command, here or as it is registered on the server, and print how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.settings import get_current_settings
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from meta_flows.cli.options import (
    Common,
    Where,
)
from meta_flows.cli.output import (
    err,
    health_text,
    note,
    out,
    print_errors,
    print_json,
    print_log,
    print_table,
    progress_bar,
    table,
)
from meta_flows.cli.running import trigger
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
from meta_flows.prefect_api.reads import read_deployment
from meta_flows.prefect_api.runs import FlowRun
from meta_flows.reporting import FAILED, OUTCOMES, RESULTS, changes_in_words, deployments, others, titled
from meta_flows.tasks.report import forget_results, newest_result, result_of


def run_approved(
    doing: str,
    meta_flow: Flow[..., Any],
    environment: str | None,
    where: Where,
    common: Common,
    *,
    dry_run: bool,
    yes: bool,
    **asked: Any,
) -> DeployResult:
    """Run a meta-flow once its plan is approved on the terminal, where the environment requires that.

    Args:
        doing: What it does, for people.
        meta_flow: It takes `dry_run`, and as `approved` which plan may be carried out.
        environment: Which environment.
        where: Where it runs; a run on the server asks there.
        common: What to work on, and how to speak.
        dry_run: Only plan.
        yes: Whatever the plan is, it is approved.
        **asked: What else it is asked for.

    Raises:
        MetaFlowsError: MF901, `yes` for a run that asks by its form; and what the meta-flow refuses as a whole.
    """
    wants_approval = load_environment(common.root.resolve(), environment).require_approval
    if wants_approval and yes and where.remote:
        raise refuse("MF901", detail="--yes goes without --remote: a run on the server is approved in the Prefect UI")
    approved = "any" if yes and not where.remote else None
    if wants_approval and not (dry_run or yes or where.remote) and err.is_terminal:
        planned = run_meta_flow("Planning", meta_flow, environment, where, common, dry_run=True, **asked)
        stopped = any(error.code == "MF504" for error in planned.refused)
        if planned.plan is None or stopped:
            return planned
        if not planned.plan.in_sync:  # else there may still be an image to build, or a release to close
            show(planned)
            if not Confirm.ask("Carry out this plan?", console=err, default=False):
                return run_meta_flow("Recording", meta_flow, environment, where, common, approved="none", **asked)
        approved = planned.plan.digest
    return run_meta_flow(doing, meta_flow, environment, where, common, dry_run=dry_run, approved=approved, **asked)


def run_meta_flow(
    doing: str,
    meta_flow: Flow[..., Any],
    environment: str | None,
    where: Where,
    common: Common,
    *,
    start_local: bool = True,
    **asked: Any,
) -> DeployResult:
    """Run a meta-flow on the environment's server, here or as it is registered there.

    Returns:
        Its result, also of one that was incomplete; of a run there only how it ended.

    Raises:
        MetaFlowsError: It was refused as a whole.
    """
    root, start_local = common.root.resolve(), start_local and not where.remote
    with (
        importing(fork=True),
        connect(environment, root=root, api_url=where.api_url, start_local=start_local, on_start=note) as target,
    ):
        if where.remote:
            return run_registered(meta_flow, target, root, asked)
        with progress_bar(f"{doing} {target.name}") as bar, watching(bar):
            forget_results()
            try:
                state: Any = meta_flow(target.name, root=root, return_state=True, **asked)
                ended = result_of(state)
            except Exception:  # a server that is gone takes no state; the result is here all the same
                ended = newest_result()
                if ended is None:
                    raise
            except KeyboardInterrupt:
                err.print("Stopped; if anything was written, `meta-flows releases` says what has become of it.")
                raise
    if isinstance(ended, DeployResult):
        return ended
    if isinstance(ended, MetaFlowsError):
        raise ended
    raise RuntimeError(error_summary(ended)) from ended


def conclude(
    result: DeployResult, common: Common, tabulated: Callable[[Iterable[Outcome]], Table] | None = None
) -> int:
    """Print how a meta-flow ended; the exit code."""
    if common.json:
        print_json(result)
    else:
        show(result, tabulated or changes_table)
    return 1 if result.state in FAILED else 0


def conclude_all(results: list[DeployResult], common: Common, *, every_environment: bool) -> int:
    """Print how the runs for one or several environments ended; the exit code."""
    if common.json and every_environment:
        print_json({result.environment: result for result in results})
        return int(any(result.state in FAILED for result in results))
    return max(conclude(result, common) for result in results)


def changes_table(outcomes: Iterable[Outcome]) -> Table:
    """A row for each deployment: what was done, or would be done, to it."""
    rows = tuple(outcomes)
    known = any(outcome.health for outcome in rows)
    shown = table("deployment", "flow", "kind", "change", "schedule", *(["health"] if known else ()), "link")
    for outcome in rows:
        change = Text(outcome.state, style=OUTCOMES[outcome.state][1])
        shown.add_row(
            outcome.name,
            outcome.flow_name,
            outcome.kind,
            change.append(f" ({outcome.reason})") if outcome.reason else change,
            "\n".join(outcome.schedules.values()),
            *([health_text(outcome.health, why=False)] if known else ()),  # `status` says why
            outcome.link or "",
        )
    return shown


def show(result: DeployResult, tabulated: Callable[[Iterable[Outcome]], Table] = changes_table) -> None:
    """Print a result for people."""
    if rest := others(result.outcomes):
        shown = table("resource", "type", "change", "link")
        for row in rest:
            shown.add_row(titled(row), row.kind, Text(row.state, style=OUTCOMES[row.state][1]), row.link or "")
        print_table(shown)
    if rows := deployments(result.outcomes):
        print_table(tabulated(rows))
    for title, fields in changes_in_words(result):
        out.print(Text(f"\n{title}", style="bold"))
        for field in fields:
            out.print(Text(f"  {field}"))
    out.print()
    print_errors((*result.refused, *result.warnings))
    for text in result.notes:
        note(f"note: {text}")
    out.print(
        Text(f"{result.environment} is {RESULTS.get(result.state, result.state)}: {result.message}", style="bold")
    )
    if result.ui_url:
        out.print(f"UI: {result.ui_url}\nrun: {result.run_link}")


def run_registered(
    meta_flow: Flow[..., Any], target: Environment, root: Path, asked: Mapping[str, Any]
) -> DeployResult:
    """Run the registered deployment of a meta-flow to its end; what it does besides is in its log.

    Args:
        meta_flow: Which one.
        target: The environment that it is registered for.
        root: The repository here, for what globs select.
        asked: Arguments; only those are passed that say something else than their defaults.

    Raises:
        MetaFlowsError: MF531, it is not registered; MF532, it was registered before a flow was there.
    """
    defaults = {name: parameter.default for name, parameter in signature(meta_flow.fn).parameters.items()}
    given = {name: value for name, value in asked.items() if value != defaults[name] and value not in ([], {})}
    with client() as api:
        deployment = _registered(api, meta_flow.name, target)
        if "flows" in given:
            given["flows"] = _slugs(root, target, given["flows"])
            _ensure_offered(deployment, given["flows"])
        ended = _followed(api, trigger(api, deployment, given))
    state = ended.state
    assert state is not None  # noqa: S101  # it has ended
    return DeployResult(
        environment=target.name,
        state=state.name if state.name in RESULTS else state.type.value.capitalize(),
        message=state.message or "",
        run_link=url_for("flow-run", obj_id=ended.id),
        ui_url=get_current_settings().ui_url,
    )


def _registered(api: Api, flow: str, target: Environment) -> LiveResource:
    """The deployment of a meta-flow for an environment, if it is this project's."""
    key = f"{flow}/{registered_name(flow, target)}"
    found = read_deployment(api, *key.split("/"))
    if found is None or not {*owner(target).ownership.tags} <= {*found.spec["tags"]}:
        raise refuse("MF531", key=key, project=target.project, environment=target.name, url=api.api_url)
    return found


def _slugs(root: Path, target: Environment, globs: Sequence[str]) -> list[str]:
    """The slugs of the flows that globs select here, since a run form offers no globs."""
    configured = configure(root, discover(root), target, Selection(flows=tuple(globs)), parameters={})
    if configured.refused:
        raise MetaFlowsError(configured.refused)
    return sorted({item.configuration.slug for item in configured.flows})


def _ensure_offered(deployment: LiveResource, slugs: Sequence[str]) -> None:
    """Refuse flows that the registered form does not have."""
    schema = deployment.spec["parameter_openapi_schema"] or {}
    offered = schema.get("properties", {}).get("flows", {}).get("items", {}).get("enum", slugs)
    if unknown := [f"'{slug}'" for slug in slugs if slug not in offered]:
        raise refuse("MF532", key=deployment.key, flows=", ".join(unknown))


def _followed(api: Api, run: FlowRun) -> FlowRun:
    """The run when it has ended; Ctrl-C asks whether it is to be cancelled, and another one leaves it."""
    seen: dict[UUID, datetime] = {}
    try:
        try:
            return _told(api, run, seen)
        except KeyboardInterrupt:
            if not _is_to_be_cancelled():
                raise
            runs.cancel_run(api, run)
            return _told(api, run, seen)
    except KeyboardInterrupt:
        err.print(Text(f"\n{run.name} is left running:\n{url_for('flow-run', obj_id=run.id)}"))
        raise SystemExit(130) from None


def _is_to_be_cancelled() -> bool:
    """Return the answer given on the terminal."""
    if not (err.is_terminal and sys.stdin.isatty()):
        return False
    return Confirm.ask("\nCancel the run?", default=False, console=err)


def _told(api: Api, run: FlowRun, seen: dict[UUID, datetime]) -> FlowRun:
    """Print what becomes of a run until it has ended."""
    before = ""
    for now, lines in runs.follow(api, run, seen):
        for line in lines:
            print_log(err, line)
        state = now.state
        if state is not None and state.name != before:
            before = state.name or ""
            err.print(Text(f"{now.name}: {before}", style="dim"))
            if state.is_paused():
                link = url_for("flow-run", obj_id=now.id)
                err.print(Text(f"It waits for an answer: {link}, menu with three dots, Resume", style="yellow"))
        run = now
    return run
