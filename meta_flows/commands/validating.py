"""The `validate` command: what is wrong, all of it at once, as a list, as JSON, or as SARIF."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from meta_flows.commands.options import Common, Flag, Target, Where
from meta_flows.commands.output import out, print_findings, print_json
from meta_flows.errors import MetaFlowsError, refuse
from meta_flows.models import ValidationResult
from meta_flows.sarif import sarif

if TYPE_CHECKING:
    from meta_flows.configuration import Selection
    from meta_flows.models import DeployResult

UNUSABLE_SERVER = {"MF401", "MF402", "MF403", "MF408"}
"""With any of these, what needs no server is said all the same."""


def validate(
    *,
    target: Target = Target(),
    deployment: str | None = None,
    import_flows: Annotated[bool, Parameter(name="--import", negative="")] = False,
    offline: Flag = False,
    form: Annotated[Literal["text", "json", "sarif"], Parameter(name="--format")] = "text",
    where: Where = Where(),
    common: Common = Common(),
) -> int:
    """Check every flow and, for an environment, every deployment; says everything at once.

    Args:
        target: Which environment, and which of its deployments; without any, the flows alone are checked.
        deployment: Only this deployment, e.g. rpa1-python-dev.
        import_flows: Import every flow in a process of its own, with its environment variables.
        offline: Leave out what needs a server or a Docker engine.
        form: How to say it; sarif is for code-review tools.
        where: Where it runs, for an environment.
        common: What to work on, and how to speak.
    """
    from meta_flows import offline as without_server
    from meta_flows.configuration import Selection

    root = common.root.resolve()
    selection = Selection(flows=target.flow, kinds=target.kind, pattern=deployment or target.pattern)
    if where.remote:
        from meta_flows.commands.deploying import conclude

        if form != "text" or offline:
            raise refuse(
                "MF901", detail="--remote goes without --offline and --format: the run's report says what is wrong"
            )
        return conclude(_run(target, selection, where, common, import_flows), common)
    if not (target.environment or selection.kinds or selection.pattern):
        found, checked = without_server.validate_flows(root, selection, import_flows=import_flows)
    else:
        here = partial(
            without_server.validate_deployments, root, target.environment, selection, import_flows=import_flows
        )
        try:
            found, checked = here() if offline else _checked(target, selection, where, common, import_flows)
        except MetaFlowsError as error:
            if UNUSABLE_SERVER.isdisjoint(item.code for item in error.errors):
                if form != "sarif":
                    raise
                print_json(sarif(ValidationResult(errors=error.errors)))
                return error.exit_code
            found, checked = here()
            found = found.model_copy(update={"errors": (*error.errors, *found.errors)})
    if form == "sarif":
        print_json(sarif(found))
    elif common.json or form == "json":
        print_json({"is_valid": found.is_valid, "checked": checked, **found.model_dump()})
    else:
        print_findings(found)
        out.print(f"{len(found.errors)} errors, {len(found.warnings)} warnings; {checked}")
    return 0 if found.is_valid else 1


def _checked(
    target: Target, selection: Selection, where: Where, common: Common, import_flows: bool
) -> tuple[ValidationResult, str]:
    """What the `validate` meta-flow finds on the environment's server."""
    result = _run(target, selection, where, common, import_flows)
    found = ValidationResult(errors=result.refused, warnings=result.warnings)
    return found, result.message.partition("; ")[2]


def _run(target: Target, selection: Selection, where: Where, common: Common, import_flows: bool) -> DeployResult:
    from meta_flows.commands.deploying import run_meta_flow
    from meta_flows.flows import validate as meta_flow

    asked = {"flows": list(selection.flows), "kinds": list(selection.kinds), "pattern": selection.pattern}
    options = {**asked, "import_flows": import_flows}
    return run_meta_flow("Validating", meta_flow, target.environment, where, common, start_local=False, **options)
