"""From layers of files to one environment, and to the configuration of one flow in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

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
from meta_flows.configuration.names import kebab
from meta_flows.configuration.reading import configuration_folder, load_document, place_path
from meta_flows.configuration.templates import has_template
from meta_flows.errors import MetaFlowsError, did_you_mean, problem, refuse
from meta_flows.models import FlowMetadata, Place, ValidationError
from meta_flows.settings import settings

_USUAL_FILES = ("workflow", "flow", "flows", "main")
_PER_KIND = ("job_variables", "resource_limits", "work_queue")
_NOTHING = Document()


def environment_names(root: Path) -> dict[str, str]:
    """The short name of each environment by its name; only `development` where no file describes any.

    Args:
        root: The repository.
    """
    files = _files(root)
    return {name: _short_name(name, file, root) for name, file in files.items()} or {"development": "dev"}


def load_environment(root: Path, name: str | None = None) -> Environment:
    """Resolve one environment: built-in defaults < `defaults.yaml` < its own file < what the shell says.

    Args:
        root: The repository.
        name: Long or short name; if not given, what DEPLOYMENT_ENV says, or development.

    Raises:
        MetaFlowsError: MF204, there is no such environment; or everything that is wrong with its files.
    """
    folder = configuration_folder(root)
    names = environment_names(root)
    name = name or settings().deployment_env
    long = _long_name(name, names)
    if long is None:
        raise MetaFlowsError([_unknown_environment(name, names, place_path(folder, root))], exit_code=2)
    twins = sorted(other for other, short in names.items() if other != long and names[long] in (other, short))
    if twins:
        detail = f"environment {twins[0]} is called so, too"
        raise refuse("MF203", Place(path=place_path(folder / f"{long}.yaml", root)), key="short_name", detail=detail)
    common, file = folder / "defaults.yaml", _files(root).get(long)
    layers = [load_document(path, root) for path in (common, file) if path and path.is_file()]
    short = names[long]
    built_in = {
        "name": long,
        "short_name": short,
        "project": kebab(root.resolve().name) or "flows",
        "work_pools": {"python": {"name": f"{short}-python", "type": "process"}},
    }
    document = merge(Document(built_in), *layers, *_shell())
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
    environments: Mapping[str, str] | None = None,
    overrides: Document = _NOTHING,
) -> FlowConfiguration:
    """Resolve how one flow is deployed: environment < file's top < its section < `environments:` < overrides.

    The whole file is checked, whichever environment and flow are asked for.

    Args:
        flow: The flow.
        environment: Where it goes.
        root: The repository.
        siblings: All flows that have the same `deployment.yaml`, or else are in the same folder; this one included.
        environments: What `environment_names` gives, for who asks for many flows.
        overrides: What the command line says, e.g. `Document.stated({"parameters": {...}}, "command line")`.

    Raises:
        MetaFlowsError: Everything that is wrong.
    """
    siblings = siblings or (flow,)
    names = environments if environments is not None else environment_names(root)
    file = load_document(root / flow.deployment_file, root) if flow.deployment_file else _NOTHING
    validate(FlowFile, file)
    own_keys = [key for key in file.data.get("flows") or {} if flow in named(key, siblings)]
    sections = [file.without("flows"), *(file.section("flows", key) for key in own_keys)]
    variants = [
        (_long_name(key, names), section.section("environments", key))
        for section in sections
        for key in section.data.get("environments") or {}
    ]
    stated = [*sections, *(variant for _, variant in variants), overrides]
    document = merge(
        _base(flow, environment, siblings),
        *(section.without("environments") for section in sections),
        *(variant for long, variant in variants if long == environment.name),
        overrides,
    )
    document = document.only(key for key, value in document.data.items() if value is not None)
    kinds = document.data.get("kinds")
    if kinds is None:
        with_image = flow.dockerfile_path and "docker" in environment.work_pools and has_template(root, "docker")
        kinds = ["python", "docker"] if with_image else ["python"]
    folder = place_path(configuration_folder(root), root)
    errors = [
        *misplaced(file, siblings),
        *(error for section in sections for error in _unknown_environments(section, names, folder)),
        *(error for section in stated for error in unknown_parameters(section, flow)),
        *(error for section in stated for error in ownership_tags(section)),
        *secrets(file),
        *(
            problem("MF210", document.place(("kinds", kind)), kind=kind, missing=missing)
            for kind in kinds
            for missing in _missing(kind, environment, root)
        ),
    ]
    if errors:
        raise MetaFlowsError(dict.fromkeys(errors))
    return FlowConfiguration.of(_for_each_kind(document, kinds, environment))


def _shell() -> Iterator[Document]:
    shell = settings()
    for key in ("registry", "namespace"):
        stated = getattr(shell, f"docker_{key}")
        if stated is not None:
            yield Document.stated({"docker": {key: stated}}, f"shell DOCKER_{key.upper()}")


def _files(root: Path) -> dict[str, Path]:
    folder = configuration_folder(root)
    files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    return {file.stem: file for file in files if file.stem != "defaults" and not file.stem.startswith(".")}


def _short_name(name: str, file: Path, root: Path) -> str:
    try:
        stated = load_document(file, root).data.get("short_name")
    except MetaFlowsError:  # said when that environment is asked for
        stated = None
    return stated if isinstance(stated, str) else SHORT_NAMES.get(name, name)


def _long_name(name: str, names: Mapping[str, str]) -> str | None:
    return name if name in names else next((long for long, short in names.items() if short == name), None)


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


def _unknown_environments(section: Document, names: Mapping[str, str], folder: str) -> Iterator[ValidationError]:
    for key in section.data.get("environments") or {}:
        if _long_name(key, names) is None:
            yield _unknown_environment(key, names, folder, section.place(("environments", key)))


def _unknown_environment(
    name: str, names: Mapping[str, str], folder: str, place: Place | None = None
) -> ValidationError:
    suggestion = did_you_mean(name, [*names, *names.values()])
    return problem("MF204", place, name=name, suggestion=suggestion, known=", ".join(names), folder=folder)


def _missing(kind: str, environment: Environment, root: Path) -> Iterator[str]:
    if kind not in environment.work_pools:
        yield f"a work pool in environment '{environment.name}': work_pools.{kind}"
    if not has_template(root, kind):
        yield f"a template: templates/{kind}.yaml beside the environments"
