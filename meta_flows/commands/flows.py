"""Commands about the repository itself; none of them needs a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from meta_flows import discovery
from meta_flows.commands.options import Common, Target
from meta_flows.commands.output import out, print_errors, print_json, print_table, table
from meta_flows.errors import refuse
from meta_flows.models import FlowMetadata

if TYPE_CHECKING:  # Prefect takes longer to import than a thousand flows to discover
    from meta_flows.configuration import Environment
    from meta_flows.desired import Desired


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
    from meta_flows.desired import desired_offline

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
    from meta_flows.manifest import manifest

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
