"""Commands about the repository: discover, validate, build, config show; only validation may ask a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from meta_flows import discovery
from meta_flows.cli.options import Common, Target
from meta_flows.cli.output import out, print_errors, print_json, print_table, table
from meta_flows.diagnostics import refuse
from meta_flows.models import FlowMetadata

if TYPE_CHECKING:  # Prefect takes longer to import than a thousand flows to discover
    from meta_flows.configuration import Environment
    from meta_flows.desired.deployments import Desired


from functools import partial
from typing import TYPE_CHECKING, Literal

from meta_flows.cli.options import EnvironmentName, Flag, Where
from meta_flows.cli.output import print_findings
from meta_flows.configuration import Selection, Setting, configure, explain, load_environment
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.diagnostics.sarif import sarif
from meta_flows.models import ValidationResult

if TYPE_CHECKING:
    from meta_flows.configuration import Selection
    from meta_flows.models import DeployResult


def discover(
    *,
    flow: Annotated[
        tuple[str, ...], Parameter(help="Only these flows: globs over names, functions, folders and paths.")
    ] = (),
    common: Common = Common(),
) -> int:
    """List every flow of the repository, the broken ones with what is wrong."""
    flows = discovery.select(discovery.discover(common.root.resolve()), flow)
    if flow and not flows:
        raise refuse("MF109", selection=" ".join(flow))
    if common.json:
        print_json({"flows": flows})
    else:
        _list(flows, verbose=common.verbose)
    return 0 if all(item.is_valid for item in flows) else 1


def _list(flows: tuple[FlowMetadata, ...], *, verbose: bool) -> None:
    out.print("Discovering flows in flows/ directory...")
    for item in flows:
        if item.is_valid:
            out.print(Text.assemble(("✓", "green"), f" {item.path} - {item.name}"))
        for error in item.validation_errors:
            line = f" (line {error.line_number})" if error.line_number else ""
            out.print(Text.assemble(("✗", "red"), f" {item.path} - {error.message}{line}"))
            out.print(Text(f"    {error.code}: {error.remedy}", style="dim"))
        if verbose and item.is_valid:
            print_table(_details(item))
    valid = sum(item.is_valid for item in flows)
    out.print(f"\nFound {_count(valid, 'valid flow')}, {_count(len(flows) - valid, 'invalid flow')}")


def _details(item: FlowMetadata) -> Table:
    details = table("", "")
    details.show_header = False
    signature = ", ".join(
        f"{parameter.name}{'' if parameter.required else f' = {parameter.default}'}" for parameter in item.parameters
    )
    for label, value in (
        ("entrypoint", f"{item.path}:{item.line} {item.function_name}({signature})"),
        ("modules", ", ".join(item.local_modules)),
        ("dependencies", ", ".join(item.dependencies) or "none"),
        ("configuration", item.deployment_file or "none"),
        ("env files", ", ".join(item.env_files) or "none"),
        ("Dockerfile", item.dockerfile_path or "none"),
        ("digest", item.source_digest),
    ):
        details.add_row(Text(f"    {label}", style="dim"), Text(value))
    return details


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _desired(root: Path, target: Target) -> tuple[Environment, Desired]:
    from meta_flows.configuration import Selection
    from meta_flows.desired.deployments import desired_offline

    selection = Selection(flows=target.flow, kinds=target.kind, pattern=target.pattern)
    return desired_offline(root, target.environment, selection)


def build(
    *,
    target: Target = Target(),
    output: Annotated[
        Path | None, Parameter(help="File to write; build/prefect.<environment>.yaml if not given.")
    ] = None,
    common: Common = Common(),
) -> int:
    """Write the deployments as a standard prefect.yaml, which stock `prefect deploy --all` accepts."""
    from meta_flows.desired.manifest import manifest

    root = common.root.resolve()
    environment, desired = _desired(root, target)
    file = output or root / "build" / f"prefect.{environment.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(manifest(desired.deployments, f"environment {environment.name}"), encoding="utf-8")
    print_errors(desired.refused)
    if common.json:
        print_json({"file": str(file), "deployments": [item.name for item in desired.deployments]})
    else:
        shown = file.relative_to(root) if file.is_relative_to(root) else file
        out.print(f"{len(desired.deployments)} deployments in {shown}; `prefect deploy --all --prefect-file {shown}`")
    return 1 if desired.refused else 0


def show(*, environment: EnvironmentName = None, flow: str | None = None, common: Common = Common()) -> int:
    """Print the resolved configuration of an environment, or of a flow in it, and where each value was said.

    Args:
        environment: Which environment.
        flow: Flow by its slug, name, function, folder or path.
        common: What to work on, and how to speak.
    """
    root = common.root.resolve()
    target = load_environment(root, environment)
    resolved = {f"environment {target.name}": explain(target)}
    if flow:
        configured = configure(root, discovery.discover(root), target, Selection(flows=(flow,)), parameters={})
        print_errors(configured.refused)
        resolved = {f"flow {item.flow.name} in {target.name}": explain(item.configuration) for item in configured.flows}
    if common.json:
        print_json({title: [setting._asdict() for setting in found] for title, found in resolved.items()})
    else:
        for title, found in resolved.items():
            _print(title, found)
    return 0 if resolved else 1


def _print(title: str, found: list[Setting]) -> None:
    out.print(Text(title, style="bold"))
    shown = table("", "value", "said by")
    for path, value, origin in found:
        shown.add_row(path, "" if value is None else str(value), Text(origin, style="dim"))
    print_table(shown)


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
    from meta_flows.configuration import Selection
    from meta_flows.validation import pipeline as without_server

    root = common.root.resolve()
    selection = Selection(flows=target.flow, kinds=target.kind, pattern=deployment or target.pattern)
    if where.remote:
        from meta_flows.cli.runner import conclude

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
    from meta_flows.cli.runner import run_meta_flow
    from meta_flows.flows import validate as meta_flow

    asked = {"flows": list(selection.flows), "kinds": list(selection.kinds), "pattern": selection.pattern}
    options = {**asked, "import_flows": import_flows}
    return run_meta_flow("Validating", meta_flow, target.environment, where, common, start_local=False, **options)
