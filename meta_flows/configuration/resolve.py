"""From layers of files to one environment, and to the configuration of one flow in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from meta_flows.configuration.checking import validate
from meta_flows.configuration.documents import Document, KeyPath, merge
from meta_flows.configuration.environment import SHORT_NAMES, Environment
from meta_flows.configuration.flow_checks import (
    misplaced,
    named,
    ownership_tags,
    parameters,
    secrets,
    unknown_parameters,
)
from meta_flows.configuration.flow_file import FlowConfiguration, FlowFile
from meta_flows.configuration.reading import configuration_folder, load_document, place_path
from meta_flows.configuration.templates import template_kinds
from meta_flows.errors import MetaFlowsError, did_you_mean, problem, refuse
from meta_flows.models import FlowMetadata, Place, ValidationError, kebab
from meta_flows.settings import Settings

_USUAL_FILES = ("workflow", "flow", "flows", "main")
_PER_KIND = ("job_variables", "resource_limits", "work_queue")
_NOTHING = Document()


class Available(NamedTuple):
    """What the folder of environments has, looked up once for all flows.

    Attributes:
        folder: The folder, as places name it.
        environments: The short name of each environment by its name.
        kinds: The kinds that have a template.
    """

    folder: str
    environments: dict[str, str]
    kinds: frozenset[str]

    def long_name(self, name: str) -> str | None:
        """The name of the environment that is called so, or in short."""
        by_short = (long for long, short in self.environments.items() if short == name)
        return name if name in self.environments else next(by_short, None)

    def unknown(self, name: str, place: Place | None = None) -> ValidationError:
        """The error for an environment that is not there."""
        known = {"known": ", ".join(self.environments), "folder": self.folder}
        suggestion = did_you_mean(name, [*self.environments, *self.environments.values()])
        return problem("MF204", place, name=name, suggestion=suggestion, **known)


def available(root: Path) -> Available:
    """What the folder of environments has."""
    return Available(place_path(configuration_folder(root), root), environment_names(root), template_kinds(root))


def environment_names(root: Path) -> dict[str, str]:
    """The short name of each environment by its name; only `development` where no file describes any.

    Args:
        root: The repository.
    """
    files = sorted(configuration_folder(root).glob("[!.]*.yaml"))
    return {file.stem: _short_name(file, root) for file in files if file.stem != "defaults"} or {"development": "dev"}


def _short_name(file: Path, root: Path) -> str:
    try:
        stated = load_document(file, root).data.get("short_name")
    except MetaFlowsError:  # said when that environment is asked for
        stated = None
    return stated if isinstance(stated, str) else SHORT_NAMES.get(file.stem, file.stem)


def load_environment(root: Path, name: str | None = None) -> Environment:
    """Resolve one environment: built-in defaults < `defaults.yaml` < its own file < what the shell says.

    Args:
        root: The repository.
        name: Long or short name; if not given, what DEPLOYMENT_ENV says, or development.

    Raises:
        MetaFlowsError: MF204, there is no such environment; or everything that is wrong with its files.
    """
    known, settings = available(root), Settings()
    name = name or settings.deployment_env
    long = known.long_name(name)
    if long is None:
        raise MetaFlowsError([known.unknown(name)], exit_code=2)
    short = known.environments[long]
    for other, others_short in sorted(known.environments.items()):
        if other != long and short in (other, others_short):
            place = Place(path=f"{known.folder}/{long}.yaml")
            raise refuse("MF203", place, key="short_name", detail=f"environment {other} is called so, too")
    files = [configuration_folder(root) / f"{part}.yaml" for part in ("defaults", long)]
    built_in = {
        "name": long,
        "short_name": short,
        "project": kebab(root.resolve().name) or "flows",
        "work_pools": {"python": {"name": f"{short}-python", "type": "process"}},
    }
    shell = {"registry": settings.docker_registry, "namespace": settings.docker_namespace}
    document = merge(
        Document(built_in),
        *(load_document(file, root) for file in files if file.is_file()),
        *(
            Document.stated({"docker": {key: stated}}, f"shell DOCKER_{key.upper()}")
            for key, stated in shell.items()
            if stated is not None
        ),
    )
    environment = Environment.of(document)
    for key in ("name", "short_name"):
        if document.data[key] != built_in[key]:
            detail = f"must be '{built_in[key]}' for the environment that the file's name says"
            raise refuse("MF203", document.place((key,)), key=key, detail=detail)
    return environment


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
    own_keys = [key for key in file.data.get("flows") or {} if flow in named(key, siblings)]
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
        *misplaced(file, siblings),
        *(known.unknown(key, variant.place(())) for key, variant in variants if known.long_name(key) is None),
        *(error for section in stated for error in unknown_parameters(section, flow)),
        *(error for section in stated for error in ownership_tags(section)),
        *secrets(file),
        *(
            problem("MF210", document.place(("kinds", kind)), kind=kind, missing=missing)
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
    defaults = environment.document.section("default_parameters").only(parameters(flow))
    places: dict[KeyPath, Place] = {(key,): flow.place for key in own}
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
