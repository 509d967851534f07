"""Every selected flow with its configuration, and what is wrong with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from meta_flows.configuration.documents import Document
from meta_flows.configuration.env_files import load_env_file
from meta_flows.configuration.environment import Environment
from meta_flows.configuration.flow_file import FlowConfiguration
from meta_flows.configuration.resolve import environment_names, flow_configuration
from meta_flows.discovery import select
from meta_flows.errors import MetaFlowsError, problem, refuse
from meta_flows.models import FlowMetadata, Model, ValidationError


class Selection(Model):
    """Which deployments to work on; nothing stated selects everything.

    Attributes:
        flows: Globs over slugs, names, functions, folders and paths.
        kinds: Names of kinds.
        pattern: Glob over the deployment's name, or over `flow/deployment`.
    """

    flows: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    pattern: str | None = None

    @property
    def partial(self) -> bool:
        """Whether anything is left out."""
        return self != Selection()

    def __str__(self) -> str:
        stated = (*self.flows, *(f"kind {kind}" for kind in self.kinds), *([self.pattern] if self.pattern else []))
        return " ".join(stated) or "what is in the repository"


class ConfiguredFlow(Model):
    """One flow, what its files say for one environment, and which of its kinds are selected."""

    flow: FlowMetadata
    configuration: FlowConfiguration
    env_file: dict[str, str]
    kinds: tuple[str, ...]


class Configured(Model):
    """The selected flows that can be deployed, and what is wrong with the others."""

    flows: tuple[ConfiguredFlow, ...]
    refused: tuple[ValidationError, ...]
    notes: tuple[str, ...] = ()


def deployment_name(slug: str, kind: str, environment: Environment) -> str:
    """`{slug}-{kind}-{environment}`, e.g. `rpa1-python-dev`."""
    return f"{slug}-{kind}-{environment.short_name}"


def configure(
    root: Path,
    flows: Sequence[FlowMetadata],
    environment: Environment,
    selection: Selection,
    *,
    parameters: Mapping[str, Any],
    allow_none: bool = False,
) -> Configured:
    """Resolve every selected flow; whatever is wrong with one refuses that one.

    Args:
        root: The repository.
        flows: All its flows.
        environment: Where they go.
        selection: Which of them.
        parameters: Values that go before those of the files, for flows that have such parameters.
        allow_none: Whether a repository without flows is fine.

    Raises:
        MetaFlowsError: MF109, the selection matches nothing.
    """
    siblings = _siblings(flows)
    environments = environment_names(root)
    configured: list[ConfiguredFlow] = []
    refused: list[ValidationError] = []
    claimants: dict[str, list[FlowMetadata]] = defaultdict(list)
    for flow in flows:
        by_source = bool(select((flow,), selection.flows))
        if not flow.is_valid:
            refused += flow.validation_errors if by_source else ()
            continue
        known = {parameter.name for parameter in flow.parameters if not parameter.variadic}
        given = {"parameters": {key: value for key, value in parameters.items() if key in known}}
        try:
            configuration = flow_configuration(
                flow,
                environment,
                root,
                siblings=siblings[_home(flow)],
                environments=environments,
                overrides=Document.stated(given, "command line") if given["parameters"] else Document(),
            )
            claimants[configuration.slug].append(flow)
            if not by_source and not any(fnmatchcase(configuration.slug, glob) for glob in selection.flows):
                continue
            kinds = tuple(
                kind for kind in configuration.kinds if _selected(flow, configuration, kind, environment, selection)
            )
            if kinds:
                env_file = load_env_file(flow, environment, root)
                configured.append(
                    ConfiguredFlow(flow=flow, configuration=configuration, env_file=env_file, kinds=kinds)
                )
        except MetaFlowsError as error:
            refused += error.errors if by_source else ()
    if not configured and not refused and (selection.partial or not allow_none):
        raise refuse("MF109", selection=selection)
    clashes = _clashing_slugs(claimants)
    kept = tuple(item for item in configured if item.flow.entrypoint not in clashes)
    selected = {item.flow.entrypoint for item in configured}
    clashing = (error for entrypoint, error in clashes.items() if entrypoint in selected)
    errors = dict.fromkeys((*refused, *clashing))  # flows of one file share its errors
    return Configured(flows=kept, refused=tuple(errors), notes=_notes(kept, environment))


def _home(flow: FlowMetadata) -> str:
    return flow.deployment_file or flow.path.rpartition("/")[0]


def _siblings(flows: Iterable[FlowMetadata]) -> dict[str, list[FlowMetadata]]:
    found: dict[str, list[FlowMetadata]] = defaultdict(list)
    for flow in flows:
        found[_home(flow)].append(flow)
    return found


def _selected(
    flow: FlowMetadata, configuration: FlowConfiguration, kind: str, environment: Environment, selection: Selection
) -> bool:
    name = deployment_name(configuration.slug, kind, environment)
    fits = selection.pattern is None or any(
        fnmatchcase(text, selection.pattern) for text in (name, f"{flow.name}/{name}")
    )
    return fits and (not selection.kinds or kind in selection.kinds)


def _clashing_slugs(claimants: Mapping[str, Sequence[FlowMetadata]]) -> dict[str, ValidationError]:
    """What is wrong with each flow whose slug another one claims too, by its entrypoint."""
    return {
        flow.entrypoint: problem("MF107", flow.place, slug=slug, others=", ".join(_places(flows, flow)))
        for slug, flows in claimants.items()
        if len(flows) > 1
        for flow in flows
    }


def _places(flows: Iterable[FlowMetadata], without: FlowMetadata) -> Iterator[str]:
    return (str(flow.place) for flow in flows if flow is not without)


def _notes(configured: Iterable[ConfiguredFlow], environment: Environment) -> tuple[str, ...]:
    notes = []
    if any("python" in item.kinds and item.configuration.kinds["python"].resource_limits for item in configured):
        notes.append("resource_limits are not enforced for the python kind: a process worker has no such limits")
    return tuple(notes)
