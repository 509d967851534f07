"""Resolving the layers of one flow in one environment into its configuration, and reporting every error in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from meta_flows.configuration.documents import Document, KeyPath, merge
from meta_flows.configuration.environment import Available, Environment, available
from meta_flows.configuration.flow_file import FlowConfiguration, FlowFile
from meta_flows.configuration.reading import load_document
from meta_flows.configuration.secrets import plain_secrets
from meta_flows.configuration.sections import validate
from meta_flows.diagnostics import MetaFlowsError, diagnostic, did_you_mean
from meta_flows.models import Diagnostic, FlowMetadata, Location, kebab

_GENERIC_FILE_NAMES = ("workflow", "flow", "flows", "main")
_OPTIONS_PER_KIND = ("job_variables", "resource_limits", "work_queue")
_EMPTY = Document()


def flow_configuration(
    flow: FlowMetadata,
    environment: Environment,
    root: Path,
    *,
    siblings: Sequence[FlowMetadata] = (),
    known: Available | None = None,
    overrides: Document = _EMPTY,
) -> FlowConfiguration:
    """Resolve how one flow is deployed: environment < file's top < its section < `environments:` < overrides.

    The whole file is validated, including the parts of other flows and environments. `siblings` are all flows that
    share its `deployment.yaml` or, without one, its folder, the flow itself included. `known` is the result of
    `available`, to read it once for many flows.

    Raises:
        MetaFlowsError: Every error in the file and the overrides.
    """
    siblings = siblings or (flow,)
    known = known or available(root)
    file = load_document(root / flow.deployment_file, root) if flow.deployment_file else _EMPTY
    validate(FlowFile, file)
    own_keys = [key for key in file.data.get("flows") or {} if flow in _named(key, siblings)]
    sections = [file.without("flows"), *(file.section("flows", key) for key in own_keys)]
    variants = [
        (key, section.section("environments", key))
        for section in sections
        for key in section.data.get("environments") or {}
    ]
    document = merge(
        _defaults(flow, environment, siblings),
        *(section.without("environments") for section in sections),
        *(variant for key, variant in variants if known.long_name(key) == environment.name),
        overrides,
    )
    document = document.only(key for key, value in document.data.items() if value is not None)
    kinds = document.data.get("kinds", _default_kinds(flow, environment, known))
    layers = [*sections, *(variant for _, variant in variants), overrides]
    allowed = [path for layer in layers for path in layer.data.get("allow_plain") or ()]
    errors = [
        *_misplaced(file, siblings),
        *(known.unknown(key, variant.place(())) for key, variant in variants if known.long_name(key) is None),
        *(error for layer in layers for error in _unknown_parameters(layer, flow)),
        *(error for layer in layers for error in _ownership_tags(layer)),
        *plain_secrets(file, [*environment.allow_plain, *allowed]),
        *_unavailable_kinds(document, kinds, environment, known),
    ]
    if errors:
        raise MetaFlowsError(dict.fromkeys(errors))
    return FlowConfiguration.of(_with_options_per_kind(document, kinds, environment))


def _defaults(flow: FlowMetadata, environment: Environment, siblings: Sequence[FlowMetadata]) -> Document:
    """Return the configuration of a flow that has no file."""
    own = {"slug": _slug(flow, siblings), "description": flow.description}
    parameters = environment.document.section("default_parameters").only(_parameters(flow))
    places: dict[KeyPath, Location] = {(key,): flow.place for key in own}
    return merge(Document(own, places), parameters.under("parameters"), environment.document.only(["resource_limits"]))


def _default_kinds(flow: FlowMetadata, environment: Environment, known: Available) -> list[str]:
    has_image = flow.dockerfile_path and "docker" in environment.work_pools and "docker" in known.kinds
    return ["python", "docker"] if has_image else ["python"]


def _slug(flow: FlowMetadata, siblings: Sequence[FlowMetadata]) -> str:
    """Return the folder's name if the folder is for this flow only, else the flow's name."""
    file = PurePosixPath(flow.path)
    has_file = flow.deployment_file is not None and PurePosixPath(flow.deployment_file).parent == file.parent
    owns_folder = len(siblings) == 1 and (has_file or file.stem in _GENERIC_FILE_NAMES)
    return (kebab(file.parent.name) if owns_folder else "") or kebab(flow.name)


def _with_options_per_kind(document: Document, kinds: Iterable[str], environment: Environment) -> Document:
    """Return a document in which the options of all kinds are under each kind."""
    each = (
        merge(
            environment.document.section("work_pools", kind).only(["work_queue"]),
            document.only(_OPTIONS_PER_KIND),
            document.section("kinds", kind),
        ).under("kinds", kind)
        for kind in kinds
    )
    return merge(Document({"kinds": {}}), document.without("kinds", *_OPTIONS_PER_KIND), *each)


def _unavailable_kinds(
    document: Document, kinds: Iterable[str], environment: Environment, known: Available
) -> Iterator[Diagnostic]:
    for kind in kinds:
        place = document.place(("kinds", kind))
        if kind not in environment.work_pools:
            missing = f"a work pool in environment '{environment.name}': work_pools.{kind}"
            yield diagnostic("MF210", place, kind=kind, missing=missing)
        if kind not in known.kinds:
            missing = f"a template: templates/{kind}.yaml beside the environments"
            yield diagnostic("MF210", place, kind=kind, missing=missing)


def _named(key: str, siblings: Sequence[FlowMetadata]) -> list[FlowMetadata]:
    """Return the flows with this name, or else the only one whose function has it."""
    by_function = [flow for flow in siblings if flow.function_name == key]
    return [flow for flow in siblings if flow.name == key] or (by_function if len(by_function) == 1 else [])


def _parameters(flow: FlowMetadata) -> list[str]:
    """Return the names that Prefect accepts; `**kwargs` is one parameter, `kwargs`, and other names fail the run."""
    return [parameter.name for parameter in flow.parameters]


def _misplaced(file: Document, siblings: Sequence[FlowMetadata]) -> Iterator[Diagnostic]:
    """Yield an error for each key that would apply to several flows, and each section that applies to none."""
    for key in ("slug", "description", "replaces"):
        if len(siblings) > 1 and file.data.get(key) is not None:
            yield diagnostic("MF214", file.place((key,)), key=key, count=len(siblings))
    if not all(flow.function_name for flow in siblings):
        return  # the flows of a file that cannot be parsed are unknown
    known = [flow.name for flow in siblings]
    for key in file.data.get("flows") or {}:
        if not _named(key, siblings):
            suggestion = did_you_mean(key, [*known, *(flow.function_name for flow in siblings)])
            place = file.place(("flows", key))
            yield diagnostic("MF213", place, name=key, suggestion=suggestion, known=", ".join(known))


def _unknown_parameters(layer: Document, flow: FlowMetadata) -> Iterator[Diagnostic]:
    """Yield an error for each parameter, of runs or of schedules, that the flow does not have."""
    known = _parameters(flow)
    paths: list[KeyPath] = [("parameters", name) for name in layer.data.get("parameters") or {}]
    for index, schedule in enumerate(layer.data.get("schedules") or ()):
        paths += [("schedules", index, "parameters", name) for name in schedule.get("parameters") or {}]
    for path in paths:
        name = str(path[-1])
        if name not in known:
            facts = {"suggestion": did_you_mean(name, known), "known": ", ".join(known) or "none"}
            yield diagnostic("MF211", layer.place(path), flow=flow.name, parameter=name, **facts)


def _ownership_tags(layer: Document) -> Iterator[Diagnostic]:
    """Yield an error for each reserved tag: only a deploy sets tags of ownership and pruning."""
    for index, tag in enumerate(layer.data.get("tags") or ()):
        if tag.startswith(("project:", "environment:", "prune:")):
            detail = f"'{tag}' says who owns a deployment, or what may be deleted; such tags come from other keys"
            yield diagnostic("MF203", layer.place(("tags", index)), key="tags", detail=detail)
