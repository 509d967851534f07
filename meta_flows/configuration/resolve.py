"""From layers of files to the configuration of one flow in one environment, and all that can be wrong with it."""

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

_USUAL_FILES = ("workflow", "flow", "flows", "main")
_PER_KIND = ("job_variables", "resource_limits", "work_queue")
_NOTHING = Document()


def flow_configuration(
    flow: FlowMetadata,
    environment: Environment,
    root: Path,
    *,
    siblings: Sequence[FlowMetadata] = (),
    known: Available | None = None,
    overrides: Document = _NOTHING,
) -> FlowConfiguration:
    """Resolve how one flow is deployed: environment < file's top < its section < `environments:` < overrides.

    The whole file is checked, whichever environment and flow are asked for.

    Args:
        flow: The flow.
        environment: Where it goes.
        root: The repository.
        siblings: All flows that have the same `deployment.yaml`, or else are in the same folder; this one included.
        known: What `available` gives, for who asks for many flows.
        overrides: What the command line says, e.g. `Document.stated({"parameters": {...}}, "command line")`.

    Raises:
        MetaFlowsError: Everything that is wrong.
    """
    siblings = siblings or (flow,)
    known = known or available(root)
    file = load_document(root / flow.deployment_file, root) if flow.deployment_file else _NOTHING
    validate(FlowFile, file)
    own_keys = [key for key in file.data.get("flows") or {} if flow in _named(key, siblings)]
    sections = [file.without("flows"), *(file.section("flows", key) for key in own_keys)]
    variants = [
        (key, section.section("environments", key))
        for section in sections
        for key in section.data.get("environments") or {}
    ]
    stated = [*sections, *(variant for _, variant in variants), overrides]
    document = merge(
        _base(flow, environment, siblings),
        *(section.without("environments") for section in sections),
        *(variant for key, variant in variants if known.long_name(key) == environment.name),
        overrides,
    )
    document = document.only(key for key, value in document.data.items() if value is not None)
    kinds = document.data.get("kinds")
    if kinds is None:
        with_image = flow.dockerfile_path and "docker" in environment.work_pools and "docker" in known.kinds
        kinds = ["python", "docker"] if with_image else ["python"]
    errors = [
        *_misplaced(file, siblings),
        *(known.unknown(key, variant.place(())) for key, variant in variants if known.long_name(key) is None),
        *(error for section in stated for error in _unknown_parameters(section, flow)),
        *(error for section in stated for error in _ownership_tags(section)),
        *plain_secrets(file, [*environment.allow_plain, *_allowed(stated)]),
        *(
            diagnostic("MF210", document.place(("kinds", kind)), kind=kind, missing=missing)
            for kind in kinds
            for missing in _missing(kind, environment, known)
        ),
    ]
    if errors:
        raise MetaFlowsError(dict.fromkeys(errors))
    return FlowConfiguration.of(_for_each_kind(document, kinds, environment))


def _base(flow: FlowMetadata, environment: Environment, siblings: Sequence[FlowMetadata]) -> Document:
    """What holds for a flow of which no file says anything."""
    own = {"slug": _slug(flow, siblings), "description": flow.description}
    defaults = environment.document.section("default_parameters").only(_parameters(flow))
    places: dict[KeyPath, Location] = {(key,): flow.place for key in own}
    return merge(Document(own, places), defaults.under("parameters"), environment.document.only(["resource_limits"]))


def _slug(flow: FlowMetadata, siblings: Sequence[FlowMetadata]) -> str:
    """The folder's name where the folder is there for this flow, else the flow's."""
    file = PurePosixPath(flow.path)
    described = flow.deployment_file is not None and PurePosixPath(flow.deployment_file).parent == file.parent
    alone = len(siblings) == 1 and (described or file.stem in _USUAL_FILES)
    return (kebab(file.parent.name) if alone else "") or kebab(flow.name)


def _for_each_kind(document: Document, kinds: Iterable[str], environment: Environment) -> Document:
    """Put what is stated for all kinds under each of them."""
    shared = document.only(_PER_KIND)
    each = (
        merge(
            environment.document.section("work_pools", kind).only(["work_queue"]),
            shared,
            document.section("kinds", kind),
        ).under("kinds", kind)
        for kind in kinds
    )
    return merge(Document({"kinds": {}}), document.without("kinds", *_PER_KIND), *each)


def _missing(kind: str, environment: Environment, known: Available) -> Iterator[str]:
    if kind not in environment.work_pools:
        yield f"a work pool in environment '{environment.name}': work_pools.{kind}"
    if kind not in known.kinds:
        yield f"a template: templates/{kind}.yaml beside the environments"


def _named(key: str, siblings: Sequence[FlowMetadata]) -> list[FlowMetadata]:
    """The flow of that name, or else the only one whose function is called so."""
    by_function = [flow for flow in siblings if flow.function_name == key]
    return [flow for flow in siblings if flow.name == key] or (by_function if len(by_function) == 1 else [])


def _parameters(flow: FlowMetadata) -> list[str]:
    """The names that Prefect takes; `**kwargs` is one parameter, `kwargs`, and any other name fails the run."""
    return [parameter.name for parameter in flow.parameters]


def _allowed(sections: Iterable[Document]) -> Iterator[str]:
    """The values that any part of a file says are no secrets."""
    for section in sections:
        yield from section.data.get("allow_plain") or ()


def _misplaced(file: Document, siblings: Sequence[FlowMetadata]) -> Iterator[Diagnostic]:
    """What would apply to several flows, or to none."""
    for key in ("slug", "description", "replaces"):
        if len(siblings) > 1 and file.data.get(key) is not None:
            yield diagnostic("MF214", file.place((key,)), key=key, count=len(siblings))
    if all(flow.function_name for flow in siblings):  # of a file that cannot be parsed the flows are not known
        known = [flow.name for flow in siblings]
        for key in file.data.get("flows") or {}:
            if not _named(key, siblings):
                suggestion = did_you_mean(key, [*known, *(flow.function_name for flow in siblings)])
                place = file.place(("flows", key))
                yield diagnostic("MF213", place, name=key, suggestion=suggestion, known=", ".join(known))


def _unknown_parameters(section: Document, flow: FlowMetadata) -> Iterator[Diagnostic]:
    """Parameters, of runs or of schedules, that the flow does not have."""
    known = _parameters(flow)
    paths: list[KeyPath] = [("parameters", name) for name in section.data.get("parameters") or {}]
    for index, schedule in enumerate(section.data.get("schedules") or ()):
        paths += [("schedules", index, "parameters", name) for name in schedule.get("parameters") or {}]
    for path in paths:
        name = str(path[-1])
        if name not in known:
            facts = {"suggestion": did_you_mean(name, known), "known": ", ".join(known) or "none"}
            yield diagnostic("MF211", section.place(path), flow=flow.name, parameter=name, **facts)


def _ownership_tags(section: Document) -> Iterator[Diagnostic]:
    """Tags that say whose a deployment is and whether it may be pruned: they are ours to give."""
    for index, tag in enumerate(section.data.get("tags") or ()):
        if tag.startswith(("project:", "environment:", "prune:")):
            detail = f"'{tag}' says who owns a deployment, or what may be deleted; such tags come from other keys"
            yield diagnostic("MF203", section.place(("tags", index)), key="tags", detail=detail)
