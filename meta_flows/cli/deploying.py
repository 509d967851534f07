"""Commands that change what a server has, or show what would change: each runs a meta-flow, here or there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from cyclopts import Parameter
from rich.prompt import Prompt

from meta_flows.cli.options import (
    AllEnvironments,
    DeployFlags,
    DeploymentFilter,
    DetailedExitCode,
    DryRun,
    Flows,
    LocalOrRemote,
    OnServer,
    Yes,
    deploy_arguments,
    writable,
)
from meta_flows.cli.output import err, print_json
from meta_flows.cli.runner import conclude, run_approved, run_meta_flow
from meta_flows.configuration import environment_names, load_environment
from meta_flows.diagnostics import refuse
from meta_flows.flows import clean_deployments, deploy_all, reconcile, register, rollback
from meta_flows.flows.images import images
from meta_flows.models import DeployResult, Model, Plan
from meta_flows.reporting import FAILED, comment


class PlanFile(Model):
    """A plan as `plan --out` writes it, without any secret.

    Attributes:
        arguments: The arguments of `deploy_all` that it was made with.
    """

    arguments: dict[str, Any]
    plan: Plan


def plan(
    flow: Flows = (),
    *,
    only: DeploymentFilter = DeploymentFilter(),
    options: DeployFlags = DeployFlags(),
    file: Annotated[Path | None, Parameter(name="--out", help="Write the plan to a file, for `deploy --plan`.")] = None,
    markdown: Annotated[
        Path | None, Parameter(help="Write the report to a file, short enough for a comment on a pull request.")
    ] = None,
    detailed_exitcode: DetailedExitCode = False,
    on: OnServer = OnServer(),
) -> int:
    """Show what a deploy would change, field by field; nothing is written."""
    arguments = deploy_arguments(flow, only, options)
    file, markdown = file and writable(file), markdown and writable(markdown)
    result = run_meta_flow("Planning", deploy_all, on, dry_run=True, **arguments)
    if file and result.plan:
        file.write_text(PlanFile(arguments=arguments, plan=result.plan).model_dump_json(indent=2) + "\n", "utf-8")
    if markdown:
        markdown.write_text(comment(result), encoding="utf-8")
    return conclude(result, on) or (2 if detailed_exitcode and result.state != "InSync" else 0)


def deploy(
    flow: Flows = (),
    *,
    only: DeploymentFilter = DeploymentFilter(),
    options: DeployFlags = DeployFlags(),
    dry_run: DryRun = False,
    file: Annotated[
        Path | None, Parameter(name="--plan", help="Apply exactly the plan that `plan --out` wrote to this file.")
    ] = None,
    yes: Yes = False,
    on: LocalOrRemote = LocalOrRemote(),
) -> int:
    """Create or update every deployment that differs from what the repository declares."""
    arguments = deploy_arguments(flow, only, options)
    if file:
        planned = _read_plan(file)
        selected = flow or only != DeploymentFilter() or options != DeployFlags()
        if selected or on.environment not in (None, planned.plan.environment):
            raise refuse("MF901", detail="--plan takes no selection or environment: the file has them")
        on = replace(on, environment=planned.plan.environment)
        arguments = {**planned.arguments, "plan_digest": planned.plan.digest}
    activity = "Planning" if dry_run else "Deploying to"
    return conclude(run_approved(activity, deploy_all, on, dry_run=dry_run, yes=yes, **arguments), on)


def _read_plan(file: Path) -> PlanFile:
    try:
        return PlanFile.model_validate_json(file.read_bytes())
    except OSError as error:
        raise refuse("MF215", what="the plan", path=file) from error
    except pydantic.ValidationError as error:
        raise refuse("MF901", detail=f"{file} was not written by `meta-flows plan --out` of this version") from error


def roll_back(
    *,
    to: Annotated[str | None, Parameter(help="Id of the release; by default the one before the current.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    on: LocalOrRemote = LocalOrRemote(),
) -> int:
    """Restore an earlier release, or undo one that was cut short."""
    return conclude(run_approved("Rolling back", rollback, on, dry_run=dry_run, yes=yes, to=to), on)


def clean(
    *,
    all_environments: AllEnvironments = False,
    pattern: Annotated[
        str | None, Parameter(help="Only deployments whose name, or flow/name, matches this glob.")
    ] = None,
    dry_run: DryRun = False,
    confirm: Annotated[
        str | None, Parameter(help="The environment's name, where it is production; a terminal asks for it.")
    ] = None,
    yes: Yes = False,
    on: LocalOrRemote = LocalOrRemote(),
) -> int:
    """Delete this project's deployments in an environment; no other project's, and none that was made by hand."""

    def clean_one(name: str) -> DeployResult:
        confirmed = confirm
        if name == "production" and confirm is None and not dry_run and not on.remote and err.is_terminal:
            confirmed = Prompt.ask(f"Type {name} to delete its deployments", console=err)
        there = replace(on, environment=name)
        return run_approved(
            "Cleaning", clean_deployments, there, dry_run=dry_run, yes=yes, pattern=pattern, confirm=confirmed
        )

    if all_environments:
        names = [*environment_names(on.repository)]
    else:
        names = [load_environment(on.repository, on.environment).name]
    return _conclude_each([clean_one(name) for name in names], on, all_environments=all_environments)


def bring_back(
    *,
    policy: Annotated[
        Literal["report", "repair", "deploy"] | None,
        Parameter(help="Report drift, repair it, or deploy a branch; the environment's file decides by default."),
    ] = None,
    detailed_exitcode: DetailedExitCode = False,
    on: LocalOrRemote = LocalOrRemote(),
) -> int:
    """Detect drift, which is live differing from the current release, and repair it."""
    result = run_meta_flow("Reconciling", reconcile, on, remote=on.remote, policy=policy)
    return conclude(result, on) or (2 if detailed_exitcode and result.state in ("Drifted", "Repaired") else 0)


def register_meta_flows(
    *, all_environments: AllEnvironments = False, dry_run: DryRun = False, on: OnServer = OnServer()
) -> int:
    """Deploy the meta-flows themselves, to run them from the Prefect UI and by schedule."""
    names = environment_names(on.repository) if all_environments else [on.environment]
    results = [run_meta_flow("Registering", register, replace(on, environment=name), dry_run=dry_run) for name in names]
    return _conclude_each(results, on, all_environments=all_environments)


def _conclude_each(results: list[DeployResult], on: OnServer, *, all_environments: bool) -> int:
    if on.wants_json and all_environments:
        print_json({result.environment: result for result in results})
        return int(any(result.state in FAILED for result in results))
    return max(conclude(result, on) for result in results)


def build(flow: Flows = (), *, on: OnServer = OnServer()) -> int:
    """Build the images that this machine's Docker engine lacks."""
    return conclude(run_meta_flow("Building images of", images, on, action="build", flows=list(flow)), on)


def push(flow: Flows = (), *, on: OnServer = OnServer()) -> int:
    """Push the images to the environment's registry."""
    return conclude(run_meta_flow("Pushing images of", images, on, action="push", flows=list(flow)), on)


def pull(flow: Flows = (), *, on: OnServer = OnServer()) -> int:
    """Pull the images from the environment's registry."""
    return conclude(run_meta_flow("Pulling images of", images, on, action="pull", flows=list(flow)), on)
