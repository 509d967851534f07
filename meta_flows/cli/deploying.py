"""Commands that change deployments or say what would change: each runs a meta-flow, here or there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from cyclopts import Parameter
from rich.prompt import Prompt

from meta_flows.cli.options import (
    ApiUrl,
    Common,
    DeployOptions,
    EnvironmentName,
    Flag,
    Flows,
    Target,
    Where,
    Yes,
    arguments,
)
from meta_flows.cli.output import (
    err,
)
from meta_flows.cli.runner import conclude, conclude_all, run_approved, run_meta_flow
from meta_flows.configuration import environment_names, load_environment
from meta_flows.diagnostics import refuse
from meta_flows.flows import clean_deployments, deploy_all, reconcile, register, rollback
from meta_flows.flows.images import images
from meta_flows.models import DeployResult, Model, Plan
from meta_flows.reporting import comment


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
    return conclude_all(results, common, every_environment=every_environment)


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
    return conclude_all(results, common, every_environment=every_environment)


def build(
    *,
    environment: EnvironmentName = None,
    flow: Flows = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Build the images that this machine's engine lacks."""
    return _run("build", environment, flow, api_url, common)


def push(
    *,
    environment: EnvironmentName = None,
    flow: Flows = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Push the images to the environment's registry."""
    return _run("push", environment, flow, api_url, common)


def pull(
    *,
    environment: EnvironmentName = None,
    flow: Flows = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Pull the images from the environment's registry."""
    return _run("pull", environment, flow, api_url, common)


def _run(
    action: Literal["build", "push", "pull"],
    environment: str | None,
    flow: tuple[str, ...],
    api_url: str | None,
    common: Common,
) -> int:
    doing = f"{action.capitalize()}ing images of"
    result = run_meta_flow(doing, images, environment, Where(api_url), common, action=action, flows=list(flow))
    return conclude(result, common)
