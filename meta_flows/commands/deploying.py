"""Commands that change deployments: each runs a meta-flow here, on the environment's server."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.text import Text

from meta_flows.commands.options import ApiUrl, Common, Parameters, Target, parsed_parameters
from meta_flows.commands.output import COLOURS, err, out, print_errors, print_json, print_table, table
from meta_flows.connecting import connect
from meta_flows.errors import MetaFlowsError
from meta_flows.flows import deploy_all
from meta_flows.models import DeployResult
from meta_flows.prefect_api.connection import plain_reason
from meta_flows.reporting import field_in_words
from meta_flows.tasks.report import DeployError


def deploy(
    *,
    target: Target = Target(),  # noqa: B008  # frozen
    parameter: Parameters = (),
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    adopt: Annotated[bool, Parameter(negative="")] = False,
    api_url: ApiUrl = None,
    common: Common = Common(),  # noqa: B008  # frozen
) -> int:
    """Create or update every deployment that differs from what the repository says.

    Args:
        target: Which environment, and which of its deployments.
        parameter: Values that go before those of the files, for flows that have such parameters.
        dry_run: Say what would change; write nothing.
        adopt: Take over deployments of the same flow and name that this project does not own.
        api_url: Server in place of the one the shell or the environment's file names.
        common: What to work on, and how to speak.
    """
    parameters = parsed_parameters(parameter)
    with connect(target.environment, root=common.root, api_url=api_url, start_local=True) as environment:
        with err.status(f"{'Planning' if dry_run else 'Deploying to'} {environment.name}..."):
            state: State[Any] = deploy_all(
                environment=environment.name,
                flows=list(target.flow),
                kinds=list(target.kind),
                pattern=target.pattern,
                dry_run=dry_run,
                adopt=adopt,
                parameters=parameters,
                root=common.root.resolve(),
                return_state=True,
            )
        result = deploy_result(state)
    if common.json:
        print_json(result)
    else:
        show(result)
    return 1 if state.is_failed() else 0


def deploy_result(state: State[Any]) -> DeployResult:
    """The result in a final state, also in that of a deploy that was incomplete.

    Raises:
        MetaFlowsError: The deploy was refused as a whole.
    """
    ended = state.result(raise_on_failure=False)
    if isinstance(ended, DeployError):
        return ended.result
    if isinstance(ended, DeployResult):
        return ended
    if isinstance(ended, MetaFlowsError):
        raise ended
    raise RuntimeError(plain_reason(ended)) from ended


def show(result: DeployResult) -> None:
    """Print a deploy's result for people."""
    shown = table("deployment", "flow", "kind", "change", "schedule", "link")
    for outcome in result.outcomes:
        shown.add_row(
            outcome.name,
            outcome.flow_name,
            outcome.kind,
            Text(outcome.state, style=COLOURS.get(outcome.state, "")),
            "\n".join(outcome.schedules.values()),
            outcome.link or "",
        )
    if result.outcomes:
        print_table(shown)
    for outcome in result.outcomes:
        if outcome.state in ("Updated", "ToUpdate"):
            out.print(Text(f"\n{outcome.name}", style="bold"))
            for field in outcome.fields:
                out.print(Text(f"  {field_in_words(field)}"))
    out.print()
    print_errors(result.refused)
    for note in result.notes:
        err.print(Text(f"note: {note}", style="dim"))
    words = {
        "InSync": "in sync",
        "Deployed": "deployed",
        "Planned": "planned, nothing was written",
        "Incomplete": "incomplete",
    }
    out.print(Text(f"{result.environment} is {words[result.state]}: {result.message}", style="bold"))
    out.print(f"UI: {result.ui_url}\nrun: {result.run_link}")
