"""Configuring every selected flow, and reporting the errors of those that cannot be deployed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from meta_flows.configuration.documents import Document
from meta_flows.configuration.env_files import load_env_file
from meta_flows.configuration.environment import Environment, available
from meta_flows.configuration.flow_file import FlowConfiguration
from meta_flows.configuration.resolve import flow_configuration
from meta_flows.diagnostics import MetaFlowsError, diagnostic, did_you_mean, refuse
from meta_flows.discovery import select
from meta_flows.models import Diagnostic, FlowMetadata, Model


class Selection(Model):
    """Which deployments to work on; an empty selection is all of them.

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
        """Return whether it excludes anything."""
        return self != Selection()

    def __str__(self) -> str:
        parts = (*self.flows, *(f"kind {kind}" for kind in self.kinds), *([self.pattern] if self.pattern else []))
        return " ".join(parts) or "what is in the repository"

    def has(self, kind: str, flow: str, deployment: str) -> bool:
        """Return whether it includes a deployment of a flow that it includes."""
        names = (deployment, f"{flow}/{deployment}")
        matches = self.pattern is None or any(fnmatchcase(name, self.pattern) for name in names)
        return matches and (not self.kinds or kind in self.kinds)


class ConfiguredFlow(Model):
    """One flow with its configuration in one environment, and those of its kinds that are selected."""

    flow: FlowMetadata
    configuration: FlowConfiguration
    env_file: dict[str, str]
    kinds: tuple[str, ...]

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables of its runs, except those that are resolved when a run starts."""
        job_variables = (self.configuration.kinds[kind].job_variables.get("env") for kind in self.kinds)
        declared = {key: value for env in job_variables if isinstance(env, dict) for key, value in env.items()}
        known = {key: value for key, value in declared.items() if isinstance(value, str) and "{{" not in value}
        return {**self.env_file, **known}


class Configured(Model):
    """The selected flows that can be deployed, and the errors of the others."""

    flows: tuple[ConfiguredFlow, ...]
    refused: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()


def deployment_name(slug: str, kind: str, environment: Environment) -> str:
    """Return `{slug}-{kind}-{environment}`, e.g. `rpa1-python-dev`."""
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
    """Resolve every selected flow of the repository; an error in one excludes only that one.

    `parameters` take precedence over those of the files, for flows that have such parameters.

    Raises:
        MetaFlowsError: MF109, a part of the selection matches nothing, or there are no flows and not `allow_none`.
            MF901, a parameter that no selected flow has.
    """
    configured: list[ConfiguredFlow] = []
    refused: list[Diagnostic] = []
    by_slug = defaultdict[str, list[FlowMetadata]](list)
    siblings = defaultdict[str, list[FlowMetadata]](list)
    for flow in flows:
        siblings[_home(flow)].append(flow)
    known = available(root)
    for flow in flows:
        selected = bool(select((flow,), selection.flows))
        try:
            if not flow.is_valid:
                raise MetaFlowsError(flow.validation_errors)
            configuration = flow_configuration(
                flow,
                environment,
                root,
                siblings=siblings[_home(flow)],
                known=known,
                overrides=_parameter_overrides(flow, parameters),
            )
            by_slug[configuration.slug].append(flow)
            if selected or any(fnmatchcase(configuration.slug, glob) for glob in selection.flows):
                configured += _selected_kinds(root, flow, configuration, environment, selection)
        except MetaFlowsError as error:
            refused += error.errors if selected else ()
    _refuse_unknown(selection, parameters, flows, slugs=by_slug, kinds=known.kinds, configured=configured)
    if not configured and not refused and (selection.partial or not allow_none):
        raise refuse("MF109", selection=selection)
    unique = tuple(item for item in configured if len(by_slug[item.configuration.slug]) == 1)
    errors = dict.fromkeys([*refused, *_duplicate_slugs(configured, by_slug)])  # flows of one file share its errors
    return Configured(flows=unique, refused=tuple(errors), notes=_notes(unique))


def _refuse_unknown(
    selection: Selection,
    parameters: Mapping[str, Any],
    flows: Sequence[FlowMetadata],
    *,
    slugs: Collection[str],
    kinds: Collection[str],
    configured: Iterable[ConfiguredFlow],
) -> None:
    """Refuse each glob, kind and parameter that means nothing here, with the nearest name that does."""
    names = {*slugs, *(name for flow in flows for name in (flow.name, flow.function_name))}
    unknown = [
        diagnostic("MF109", selection=f"'{glob}'{did_you_mean(glob, names)}")
        for glob in selection.flows
        if not select(flows, (glob,)) and not any(fnmatchcase(slug, glob) for slug in slugs)
    ]
    unknown += [
        diagnostic("MF109", selection=f"kind '{kind}'{did_you_mean(kind, kinds)}")
        for kind in selection.kinds
        if kind not in kinds
    ]
    selected = [item.flow for item in configured]
    accepted = {parameter.name for flow in selected for parameter in flow.parameters if not parameter.variadic}
    unknown += [
        diagnostic("MF901", detail=f"no selected flow has a parameter '{name}'{did_you_mean(name, accepted)}")
        for name in parameters
        if selected and name not in accepted
    ]
    if unknown:
        raise MetaFlowsError(unknown)


def _home(flow: FlowMetadata) -> str:
    return flow.deployment_file or flow.path.rpartition("/")[0]


def _parameter_overrides(flow: FlowMetadata, parameters: Mapping[str, Any]) -> Document:
    names = {parameter.name for parameter in flow.parameters if not parameter.variadic}
    values = {key: value for key, value in parameters.items() if key in names}
    return Document.from_data({"parameters": values} if values else {}, "command line")


def _selected_kinds(
    root: Path, flow: FlowMetadata, configuration: FlowConfiguration, environment: Environment, selection: Selection
) -> Iterator[ConfiguredFlow]:
    """Yield the flow with its selected kinds and its env file; nothing if no kind is selected."""
    kinds = tuple(
        kind
        for kind in configuration.kinds
        if selection.has(kind, flow.name, deployment_name(configuration.slug, kind, environment))
    )
    if kinds:
        env_file = load_env_file(flow, environment, root, [*environment.allow_plain, *configuration.allow_plain])
        yield ConfiguredFlow(flow=flow, configuration=configuration, env_file=env_file, kinds=kinds)


def _duplicate_slugs(
    configured: Iterable[ConfiguredFlow], by_slug: Mapping[str, Sequence[FlowMetadata]]
) -> Iterator[Diagnostic]:
    for item in configured:
        slug = item.configuration.slug
        if duplicates := [str(other.place) for other in by_slug[slug] if other is not item.flow]:
            yield diagnostic("MF107", item.flow.place, slug=slug, others=", ".join(duplicates))


def _notes(configured: Iterable[ConfiguredFlow]) -> tuple[str, ...]:
    if any("python" in item.kinds and item.configuration.kinds["python"].resource_limits for item in configured):
        return ("resource_limits are not enforced for the python kind: a process worker has no such limits",)
    return ()
