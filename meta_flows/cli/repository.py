"""Commands about the repository: discover, validate, build, config show; only validation may ask a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from meta_flows import discovery
from meta_flows.cli.options import Common, DeploymentFilter, Flag, Flows, InEnvironment, LocalOrRemote
from meta_flows.cli.output import out, print_diagnostics, print_findings, print_json, print_table
from meta_flows.diagnostics import MetaFlowsError, refuse
from meta_flows.diagnostics.sarif import sarif
from meta_flows.models import DeployResult, FlowMetadata, ValidationResult

if TYPE_CHECKING:  # Prefect takes longer to import than a thousand flows to discover
    from meta_flows.configuration import Selection

UNUSABLE_SERVER = {"MF401", "MF402", "MF403", "MF408"}
"""With any of these, validation still reports what needs no server."""


def discover(flow: Flows = (), *, common: Common = Common()) -> int:
    """List every flow of the repository, and what is wrong with the broken ones."""
    flows = discovery.select(discovery.discover(common.repository), flow)
    if flow and not flows:
        raise refuse("MF109", selection=" ".join(flow))
    if common.wants_json:
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
            _print_details(item)
    valid = sum(item.is_valid for item in flows)
    out.print(f"\nFound {_count(valid, 'valid flow')}, {_count(len(flows) - valid, 'invalid flow')}")


def _print_details(item: FlowMetadata) -> None:
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
        out.print(Text.assemble((f"    {label:<13}  ", "dim"), value or ""))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def build(
    flow: Flows = (),
    *,
    only: DeploymentFilter = DeploymentFilter(),
    output: Annotated[
        Path | None, Parameter(help="File to write; build/prefect.<environment>.yaml by default.")
    ] = None,
    on: InEnvironment = InEnvironment(),
) -> int:
    """Write the deployments as a standard prefect.yaml, which stock `prefect deploy --all` accepts."""
    from meta_flows.configuration import Selection
    from meta_flows.desired.deployments import desired_offline
    from meta_flows.desired.manifest import manifest

    selection = Selection(flows=flow, kinds=only.kind, pattern=only.pattern)
    environment, desired = desired_offline(on.repository, on.environment, selection)
    file = output or on.repository / "build" / f"prefect.{environment.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(manifest(desired.deployments, f"environment {environment.name}"), encoding="utf-8")
    print_diagnostics(desired.refused)
    if on.wants_json:
        print_json({"file": str(file), "deployments": [item.name for item in desired.deployments]})
    else:
        shown = file.relative_to(on.repository) if file.is_relative_to(on.repository) else file
        out.print(f"{len(desired.deployments)} deployments in {shown}; `prefect deploy --all --prefect-file {shown}`")
    return 1 if desired.refused else 0


def show(
    *,
    flow: Annotated[str | None, Parameter(help="Flow by its slug, name, function, folder or path.")] = None,
    on: InEnvironment = InEnvironment(),
) -> int:
    """Print the resolved configuration of an environment or of a flow in it, and where each value comes from."""
    from meta_flows.configuration import Selection, configure, explain, load_environment

    target = load_environment(on.repository, on.environment)
    resolved = {f"environment {target.name}": explain(target)}
    if flow:
        flows = discovery.discover(on.repository)
        configured = configure(on.repository, flows, target, Selection(flows=(flow,)), parameters={})
        print_diagnostics(configured.refused)
        resolved = {f"flow {item.flow.name} in {target.name}": explain(item.configuration) for item in configured.flows}
    if on.wants_json:
        print_json({title: [setting._asdict() for setting in found] for title, found in resolved.items()})
        return 0 if resolved else 1
    for title, found in resolved.items():
        out.print(Text(title, style="bold"))
        rows = ((path, "" if value is None else str(value), Text(origin, style="dim")) for path, value, origin in found)
        print_table(("key", "value", "from"), rows)
    return 0 if resolved else 1


def validate(
    flow: Flows = (),
    *,
    only: DeploymentFilter = DeploymentFilter(),
    deployment: Annotated[str | None, Parameter(help="Only this deployment, e.g. rpa1-python-dev.")] = None,
    import_flows: Annotated[
        Flag, Parameter(name="--import", help="Import every flow in a process of its own, with its variables.")
    ] = False,
    offline: Annotated[Flag, Parameter(help="Leave out what needs a server or a Docker engine.")] = False,
    on: LocalOrRemote = LocalOrRemote(),
) -> int:
    """Check flows, their configuration and, for an environment, every deployment; report everything at once."""
    from meta_flows.configuration import Selection
    from meta_flows.validation import pipeline

    selection = Selection(flows=flow, kinds=only.kind, pattern=deployment or only.pattern)
    if on.remote:
        from meta_flows.cli.runner import conclude

        if on.format != "text" or offline:
            detail = "--remote goes without --offline and --format: the run's report says what is wrong"
            raise refuse("MF901", detail=detail)
        return conclude(_run(selection, on, import_flows), on)
    if not (on.environment or selection.kinds or selection.pattern):
        found, checked = pipeline.validate_repository(on.repository, selection, import_flows=import_flows)
        return _print_validation(found, checked, on)
    without_server = partial(
        pipeline.validate_offline, on.repository, on.environment, selection, import_flows=import_flows
    )
    try:
        found, checked = without_server() if offline else _with_server(selection, on, import_flows)
    except MetaFlowsError as error:
        if UNUSABLE_SERVER.isdisjoint(item.code for item in error.errors):
            if on.format != "sarif":
                raise
            print_json(sarif(ValidationResult(errors=error.errors)))
            return error.exit_code
        found, checked = without_server()
        found = found.model_copy(update={"errors": (*error.errors, *found.errors)})
    return _print_validation(found, checked, on)


def _print_validation(found: ValidationResult, checked: str, on: Common) -> int:
    if on.format == "sarif":
        print_json(sarif(found))
    elif on.wants_json:
        print_json({"is_valid": found.is_valid, "checked": checked, **found.model_dump()})
    else:
        print_findings(found)
        out.print(f"{len(found.errors)} errors, {len(found.warnings)} warnings; {checked}")
    return 0 if found.is_valid else 1


def _with_server(selection: Selection, on: LocalOrRemote, import_flows: bool) -> tuple[ValidationResult, str]:
    """Return what the `validate` meta-flow finds on the environment's server, and what it checked, in words."""
    result = _run(selection, on, import_flows)
    found = ValidationResult(errors=result.refused, warnings=result.warnings)
    return found, result.message.partition("; ")[2]


def _run(selection: Selection, on: LocalOrRemote, import_flows: bool) -> DeployResult:
    from meta_flows.cli.runner import run_meta_flow
    from meta_flows.flows import validate as meta_flow

    options = {**selection.model_dump(mode="json"), "import_flows": import_flows}
    return run_meta_flow("Validating", meta_flow, on, remote=on.remote, start_local=False, **options)
