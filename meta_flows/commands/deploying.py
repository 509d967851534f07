"""Commands that change deployments or say what would change: each runs a meta-flow, here or there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from cyclopts import Parameter
from prefect import Flow
from rich.prompt import Confirm, Prompt
from rich.table import Table
from rich.text import Text

from meta_flows.commands.options import (
    ApiUrl,
    Common,
    DeployOptions,
    EnvironmentName,
    Flag,
    Target,
    Where,
    Yes,
    arguments,
)
from meta_flows.commands.output import (
    err,
    health_text,
    note,
    out,
    print_errors,
    print_json,
    print_table,
    progress_bar,
    table,
)
from meta_flows.commands.remote import run_registered
from meta_flows.configuration import environment_names, load_environment
from meta_flows.connecting import connect
from meta_flows.errors import MetaFlowsError, error_summary, refuse
from meta_flows.flows import clean_deployments, deploy_all, reconcile, register, rollback
from meta_flows.models import DeployResult, Model, Outcome, Plan
from meta_flows.parameter_schemas import importing
from meta_flows.prefect_api.progress import watching
from meta_flows.reporting import FAILED, OUTCOMES, RESULTS, changes_in_words, comment, deployments, others, titled
from meta_flows.tasks.report import forget_results, newest_result, result_of


class PlanFile(Model):
    """A plan as `plan --out` keeps it: what it would do, and what it was asked for; it holds no secret.

    Attributes:
        arguments: What `deploy_all` was asked for.
    """

    arguments: dict[str, Any]
    plan: Plan


def plan(
    *,
    target: Target = Target(),
    options: DeployOptions = DeployOptions(),
    file: Annotated[Path | None, Parameter(name="--out")] = None,
    markdown: Path | None = None,
    detailed_exitcode: Flag = False,
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Say what a deploy would change, field by field; nothing is written.

    Args:
        target: Which environment, and which of its deployments.
        options: What the deploy may do besides.
        file: Write the plan to a file, for `deploy --plan`.
        markdown: Write the report to a file, short enough for a comment on a pull request.
        detailed_exitcode: Exit with 2 if there is something to change.
        api_url: Server in place of the one the shell or the environment's file names.
        common: What to work on, and how to speak.
    """
    asked = arguments(target, options)
    result = run_meta_flow("Planning", deploy_all, target.environment, Where(api_url), common, dry_run=True, **asked)
    if file and result.plan:
        _write(file, PlanFile(arguments=asked, plan=result.plan).model_dump_json(indent=2) + "\n")
    if markdown:
        _write(markdown, comment(result))
    code = conclude(result, common)
    return code or (2 if detailed_exitcode and result.state != "InSync" else 0)


def deploy(
    *,
    target: Target = Target(),
    options: DeployOptions = DeployOptions(),
    dry_run: Flag = False,
    file: Annotated[Path | None, Parameter(name="--plan")] = None,
    yes: Yes = False,
    where: Where = Where(),
    common: Common = Common(),
) -> int:
    """Create or update every deployment that differs from what the repository says.

    Args:
        target: Which environment, and which of its deployments.
        options: What the deploy may do besides.
        dry_run: Say what would change; write nothing.
        file: Carry out exactly the plan in this file, which `plan --out` wrote; it goes without other selections.
        yes: Approve the plan, whatever it is, in an environment that wants that; on a terminal it is asked for.
        where: Where it runs.
        common: What to work on, and how to speak.
    """
    asked, environment = arguments(target, options), target.environment
    if file:
        planned = _read_plan(file)
        if (
            options != DeployOptions()
            or target != Target(environment)
            or environment not in (None, planned.plan.environment)
        ):
            raise refuse("MF901", detail="--plan goes alone: the file says what was asked for, and where")
        environment = planned.plan.environment
        asked = {**planned.arguments, "plan_digest": planned.plan.digest}
    doing = "Planning" if dry_run else "Deploying to"
    result = run_approved(doing, deploy_all, environment, where, common, dry_run=dry_run, yes=yes, **asked)
    return conclude(result, common)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise refuse("MF901", detail=f"{file} cannot be written: {error.strerror}") from error


def _read_plan(file: Path) -> PlanFile:
    try:
        return PlanFile.model_validate_json(file.read_bytes())
    except OSError as error:
        raise refuse("MF215", what="the plan", path=file) from error
    except pydantic.ValidationError as error:
        raise refuse("MF901", detail=f"{file} was not written by `meta-flows plan --out` of this version") from error


def roll_back(
    *,
    environment: EnvironmentName = None,
    to: str | None = None,
    dry_run: Flag = False,
    yes: Yes = False,
    where: Where = Where(),
    common: Common = Common(),
) -> int:
    """Make an earlier release the current one, or undo one that was cut short.

    Args:
        environment: Which environment.
        to: Id of the release; the one before the current, if not given.
        dry_run: Say what would change; write nothing.
        yes: Approve the plan, whatever it is, in an environment that wants that; on a terminal it is asked for.
        where: Where it runs.
        common: What to work on, and how to speak.
    """
    result = run_approved("Rolling back", rollback, environment, where, common, dry_run=dry_run, yes=yes, to=to)
    return conclude(result, common)


def clean(
    *,
    environment: EnvironmentName = None,
    every_environment: Annotated[bool, Parameter(name="--all-environments", negative="")] = False,
    pattern: str | None = None,
    dry_run: Flag = False,
    confirm: str | None = None,
    yes: Yes = False,
    where: Where = Where(),
    common: Common = Common(),
) -> int:
    """Delete the deployments of this project in an environment; no other's, and none that was made by hand.

    Args:
        environment: Which environment.
        every_environment: All of them, one after the other.
        pattern: Only deployments whose name, or flow/name, matches this glob.
        dry_run: Say what would be deleted; delete nothing.
        confirm: The environment's name, where it is production; on a terminal it is asked for.
        yes: Approve the plan, whatever it is, in an environment that wants that; on a terminal it is asked for.
        where: Where it runs.
        common: What to work on, and how to speak.
    """
    root = common.root.resolve()

    def cleaned(name: str) -> DeployResult:
        asked = confirm
        if name == "production" and confirm is None and not dry_run and not where.remote and err.is_terminal:
            asked = Prompt.ask(f"Type {name} to delete its deployments", console=err)
        options = {"pattern": pattern, "confirm": asked}
        return run_approved("Cleaning", clean_deployments, name, where, common, dry_run=dry_run, yes=yes, **options)

    names = environment_names(root) if every_environment else [load_environment(root, environment).name]
    results = [cleaned(name) for name in names]
    return _conclude_all(results, common, every_environment=every_environment)


def bring_back(
    *,
    environment: EnvironmentName = None,
    policy: Literal["report", "repair", "deploy"] | None = None,
    detailed_exitcode: Flag = False,
    where: Where = Where(),
    common: Common = Common(),
) -> int:
    """Find what is no longer as it was released, and bring it back.

    Args:
        environment: Which environment.
        policy: Report drift, repair it, or deploy a branch; the environment's file says, if not given.
        detailed_exitcode: Exit with 2 if there was drift.
        where: Where it runs.
        common: What to work on, and how to speak.
    """
    result = run_meta_flow("Reconciling", reconcile, environment, where, common, policy=policy)
    code = conclude(result, common)
    return code or (2 if detailed_exitcode and result.state in ("Drifted", "Repaired") else 0)


def register_meta_flows(
    *,
    environment: EnvironmentName = None,
    every_environment: Annotated[bool, Parameter(name="--all-environments", negative="")] = False,
    dry_run: Flag = False,
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Create or update the deployments of the meta-flows, so that they can be run from the Prefect UI.

    Args:
        environment: Which environment.
        every_environment: All of them, one after the other.
        dry_run: Say what would change; write nothing.
        api_url: Server in place of the one the shell or the environment's file names.
        common: What to work on, and how to speak.
    """
    where = Where(api_url)
    names = list(environment_names(common.root.resolve())) if every_environment else [environment]
    results = [run_meta_flow("Registering", register, name, where, common, dry_run=dry_run) for name in names]
    return _conclude_all(results, common, every_environment=every_environment)


def _conclude_all(results: list[DeployResult], common: Common, *, every_environment: bool) -> int:
    """Print how the runs for one or several environments ended; the exit code."""
    if common.json and every_environment:
        print_json({result.environment: result for result in results})
        return int(any(result.state in FAILED for result in results))
    return max(conclude(result, common) for result in results)


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
        show(result, tabulated or _changes)
    return 1 if result.state in FAILED else 0


def _changes(outcomes: Iterable[Outcome]) -> Table:
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


def show(result: DeployResult, tabulated: Callable[[Iterable[Outcome]], Table] = _changes) -> None:
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
