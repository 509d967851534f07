"""Every selected flow with its configuration, and what is wrong with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from meta_flows.configuration.documents import Document
from meta_flows.configuration.env_files import load_env_file
from meta_flows.configuration.environment import Environment, available
from meta_flows.configuration.flow_file import FlowConfiguration
from meta_flows.configuration.resolve import flow_configuration
from meta_flows.diagnostics import MetaFlowsError, diagnostic, refuse
from meta_flows.discovery import select
from meta_flows.models import Diagnostic, FlowMetadata, Model


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

    def has(self, kind: str, flow: str, deployment: str) -> bool:
        """Whether it selects a deployment of a flow that it selects."""
        named = self.pattern is None or any(
            fnmatchcase(name, self.pattern) for name in (deployment, f"{flow}/{deployment}")
        )
        return named and (not self.kinds or kind in self.kinds)


class ConfiguredFlow(Model):
    """One flow, what its files say for one environment, and which of its kinds are selected."""

    flow: FlowMetadata
    configuration: FlowConfiguration
    env_file: dict[str, str]
    kinds: tuple[str, ...]

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of its runs, as far as they are known before one starts."""
        stated = (self.configuration.kinds[kind].job_variables.get("env") for kind in self.kinds)
        named = {key: value for env in stated if isinstance(env, dict) for key, value in env.items()}
        plain = {key: value for key, value in named.items() if isinstance(value, str) and "{{" not in value}
        return {**self.env_file, **plain}


class Configured(Model):
    """The selected flows that can be deployed, and what is wrong with the others."""

    flows: tuple[ConfiguredFlow, ...]
    refused: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...] = ()
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
    configured: list[ConfiguredFlow] = []
    refused: list[Diagnostic] = []
    siblings, claimants = defaultdict[str, list[FlowMetadata]](list), defaultdict[str, list[FlowMetadata]](list)
    for flow in flows:
        siblings[_home(flow)].append(flow)
    known = available(root)
    for flow in flows:
        chosen = bool(select((flow,), selection.flows))
        names = {parameter.name for parameter in flow.parameters if not parameter.variadic}
        given = {key: value for key, value in parameters.items() if key in names}
        try:
            if not flow.is_valid:
                raise MetaFlowsError(flow.validation_errors)
            configuration = flow_configuration(
                flow,
                environment,
                root,
                siblings=siblings[_home(flow)],
                known=known,
                overrides=Document.stated({"parameters": given} if given else {}, "command line"),
            )
            slug = configuration.slug
            claimants[slug].append(flow)
            named = chosen or any(fnmatchcase(slug, glob) for glob in selection.flows)
            kinds = tuple(
                kind
                for kind in configuration.kinds
                if named and selection.has(kind, flow.name, deployment_name(slug, kind, environment))
            )
            if kinds:
                env_file = load_env_file(
                    flow, environment, root, [*environment.allow_plain, *configuration.allow_plain]
                )
                configured.append(
                    ConfiguredFlow(flow=flow, configuration=configuration, env_file=env_file, kinds=kinds)
                )
        except MetaFlowsError as error:
            refused += error.errors if chosen else ()
    if not configured and not refused and (selection.partial or not allow_none):
        raise refuse("MF109", selection=selection)
    kept = []
    for item in configured:
        slug = item.configuration.slug
        if rivals := [str(other.place) for other in claimants[slug] if other is not item.flow]:
            refused.append(diagnostic("MF107", item.flow.place, slug=slug, others=", ".join(rivals)))
        else:
            kept.append(item)
    errors = dict.fromkeys(refused)  # flows of one file share its errors
    return Configured(flows=tuple(kept), refused=tuple(errors), notes=_notes(kept, environment))


def _home(flow: FlowMetadata) -> str:
    return flow.deployment_file or flow.path.rpartition("/")[0]


def _notes(configured: Iterable[ConfiguredFlow], environment: Environment) -> tuple[str, ...]:
    notes = []
    if any("python" in item.kinds and item.configuration.kinds["python"].resource_limits for item in configured):
        notes.append("resource_limits are not enforced for the python kind: a process worker has no such limits")
    return tuple(notes)
