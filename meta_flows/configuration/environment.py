"""Environments: the keys of a file in `environments/`, and how the layers of one environment are resolved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from meta_flows.configuration.documents import Document, merge
from meta_flows.configuration.reading import configuration_folder, display_path, load_document
from meta_flows.configuration.schedules import Schedule
from meta_flows.configuration.secrets import looks_secret, plain_secrets
from meta_flows.configuration.sections import BUILT_IN, Cpu, Memory, Resolved, Section
from meta_flows.configuration.settings import settings
from meta_flows.configuration.templates import template_kinds
from meta_flows.diagnostics import MetaFlowsError, catalogue, diagnostic, did_you_mean, refuse
from meta_flows.files import is_there
from meta_flows.models import Diagnostic, Kind, Location, Ownership, Slug, kebab

SHORT_NAMES = {"development": "dev", "staging": "staging", "production": "prod"}
"""Short names of the usual environments; any other environment's is its name."""

Name = Annotated[str, Field(pattern=r"^[a-z](-?[a-z0-9])*$")]
"""No name has two dashes in a row: two dashes separate names that are joined."""

Project = Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9])*$")]


def _ignorable(code: str) -> str:
    rules = sorted(code for code, entry in catalogue().items() if entry.can_be_ignored)
    if code not in rules:
        raise ValueError("must be the code of a rule that can be ignored: " + ", ".join(rules))
    return code


Ignored = list[Annotated[str, AfterValidator(_ignorable)]]


class WorkPool(Section):
    """The work pool of one kind of deployments; it is created if it is missing.

    In an existing pool only the keys that are set here are managed; all others are left alone.
    """

    name: str
    """Name of the pool on the server."""
    type: str = "process"
    """Prefect's type of the pool; unless set, `process` for python, and the kind's name for any other kind."""
    work_queue: str | None = None
    """Queue of the pool; its default queue unless set."""
    description: str | None = None
    """What the pool is for."""
    concurrency_limit: Annotated[int, Field(ge=0)] | None = None
    """How many runs of the pool may be active at a time; `null` for any number."""
    base_job_template: Annotated[
        dict[str, Any] | None,
        BeforeValidator(lambda template: template, json_schema_input_type=dict[str, Any] | str | None),
    ] = None
    """Base job template, complete or in part, or the path of a YAML or JSON file, relative to this folder; in a new
    pool, missing parts come from the type's own template."""

    @property
    def spec(self) -> dict[str, Any]:
        """Return the declared fields of the pool in the Prefect API's shape."""
        fields = self.model_dump(include={"description", "concurrency_limit", "base_job_template"}, exclude_unset=True)
        if not self.base_job_template:
            fields.pop("base_job_template", None)
        return {"type": self.type, **fields}


class ResourceLimits(Section):
    """What one run may use; a deploy notes the kinds that cannot enforce it."""

    memory: Memory | None = None
    """Memory in Kubernetes notation: `512Mi`, `2Gi`."""
    cpu: Cpu | None = None
    """Processors in Kubernetes notation: `500m`, `0.5`, `2`."""


class DockerSettings(Section):
    """Where images come from and go to."""

    registry: str | None = None
    """Registry, e.g. `registry.example.com/team`; images stay on this machine unless set."""
    namespace: str = "flows"
    """First part of each image's name."""
    image_pull_policy: Literal["Always", "IfNotPresent", "IfPossible", "Never"] = "IfNotPresent"
    """When a worker pulls the image."""
    platform: str | None = None
    """Platform to build for, e.g. `linux/amd64`; the builder's own unless set."""
    tag: str | None = None
    """Tag of each image's newest content; the environment's short name unless set."""
    networks: list[str] = Field(default_factory=list)
    """Networks that containers join, created if missing; the server's own if it is on this machine."""
    build_args: dict[str, str] = Field(default_factory=dict)
    """Build arguments for the Dockerfiles that declare them, e.g. `BASE_IMAGE`."""
    build_backend: Literal["docker-py", "buildx"] = "docker-py"
    """Builder: the engine's classic builder, or buildx for Dockerfiles that need BuildKit."""


class LocalSource(Section):
    """Runs use the code in the folder that was deployed from."""

    type: Literal["local"]
    """The code is in a folder."""


class GitSource(Section):
    """Runs clone the code at the commit that was deployed."""

    type: Literal["git"]
    """The code is in a git repository."""
    repository: str
    """URL to clone from."""
    branch: str | None = None
    """Branch that must contain the commit to deploy."""
    commit: str | None = None
    """Commit to deploy; the one that is checked out unless set."""
    credentials: Annotated[str, Field(pattern=r"^\{\{ *prefect\.blocks\.[\w.-]+ *\}\}$")] | None = None
    """Block to clone with, e.g. `{{ prefect.blocks.github-credentials.robot }}`."""


class Registration(Section):
    """How the meta-flows themselves become deployments of this environment, by `make register`."""

    work_pool: str | None = None
    """Work pool whose worker has the repository and, to build images, a Docker engine; that of python unless set. If it
    is missing, it is created with the type `process`."""
    job_variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of that work pool's job template."""
    qualifier: Slug | None = None
    """Part of their names, for projects that share a server: `billing` makes `deploy-all-billing-dev`."""


class ReconcileSettings(Section):
    """What the `reconcile` meta-flow does about drift, and when it runs."""

    policy: Literal["report", "repair", "deploy"] = "repair"
    """Only report drift; restore what was released; or deploy a branch of the git source."""
    branch: str | None = None
    """Branch to deploy, with the policy `deploy`; the source's own unless set."""
    schedule: Schedule | None = None
    """When it runs; every 15 minutes unless set, and never in development."""
    jitter: Annotated[float, Field(ge=0, le=3600)] = 0
    """Longest random delay of a scheduled run, in seconds, so that environments do not all begin at once."""


def _expanded_pools(pools: Any) -> Any:
    """Expand `python: some-pool` to a mapping, and add each kind's default type."""

    def expanded(kind: Any, pool: Any) -> Any:
        pool = {"name": pool} if isinstance(pool, str) else pool
        return {"type": "process" if kind == "python" else kind, **pool} if isinstance(pool, dict) else pool

    return {kind: expanded(kind, pool) for kind, pool in pools.items()} if isinstance(pools, dict) else pools


def _api_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be an http:// or https:// address that ends in /api")
    if looks_secret("", url):
        raise ValueError("must not hold a password: that belongs into PREFECT_API_AUTH_STRING")
    return url.rstrip("/")


class Environment(Resolved):
    """One environment: a Prefect server and how flows are deployed to it.

    Keys in `defaults.yaml` hold for all environments. The built-in defaults describe a development environment on the
    local server.
    """

    name: Name = "development"
    """Name of the environment, the same as the file's."""
    short_name: Name = "dev"
    """Last part of each deployment's name; `dev`, `staging` and `prod` for the usual environments."""
    project: Project = "flows"
    """Owner of the deployments, a tag on each; the name of the repository's folder unless set."""
    prefect_api_url: Annotated[str, AfterValidator(_api_url)] = "http://127.0.0.1:4200/api"
    """URL of the Prefect server's API."""
    work_pools: Annotated[
        dict[Kind, WorkPool], BeforeValidator(_expanded_pools, json_schema_input_type=dict[Kind, str | WorkPool])
    ] = Field(default_factory=lambda: {"python": WorkPool(name="dev-python")})
    """Work pool of each kind: a name or a mapping."""
    default_parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters for the flows that have them."""
    resource_limits: ResourceLimits | None = None
    """What one run may use; a flow's file can override it."""
    docker: DockerSettings = DockerSettings()
    """Where images come from and go to."""
    source: LocalSource | GitSource = Field(LocalSource(type="local"), discriminator="type")
    """Where runs get the code from: a local folder, or git at a pinned commit."""
    strict: bool = False
    """Whether one invalid flow fails the whole deploy, instead of being left out."""
    require_approval: bool = False
    """Whether a plan must be approved before it is applied."""
    approval_timeout: Annotated[int, Field(gt=0)] = 24 * 3600
    """How long a run waits for approval before it fails, in seconds."""
    prune: bool = False
    """Whether a deploy deletes deployments that the repository no longer declares."""
    prune_limit: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Largest share of the environment's deployments that one deploy may delete; `1` allows all of them."""
    on_failure: Literal["rollback", "continue"] = "rollback"
    """Whether a failed write rolls the whole deploy back, or leaves the successful changes in place."""
    lock_wait: Annotated[float, Field(ge=0)] = 120
    """How long a deploy waits for another deploy of the same environment to end, in seconds."""
    reconcile: ReconcileSettings = ReconcileSettings()
    """What the `reconcile` meta-flow does about drift, and when it runs."""
    registration: Registration = Registration()
    """How the meta-flows themselves become deployments."""
    ignore: Ignored = Field(default_factory=list)
    """Codes of validation rules to ignore, e.g. `MF623`; a flow's file may add more."""
    allow_plain: list[str] = Field(default_factory=list)
    """Dotted paths of values that only look secret, e.g. `parameters.token_column`; a flow's file may add more."""
    schedules_active: bool | None = None
    """Whether schedules run; unless set, they are active when created, and then stay as an operator leaves them."""

    @property
    def pools(self) -> tuple[WorkPool, ...]:
        """Return the work pools of all kinds, and the one of the meta-flows."""
        own, declared = self.registration.work_pool, tuple(self.work_pools.values())
        return (*declared, WorkPool(name=own)) if own and own not in {pool.name for pool in declared} else declared

    def place_of_pool(self, name: str) -> Location | None:
        """Return the location of a work pool's declaration."""
        kind = next((kind for kind, pool in self.work_pools.items() if pool.name == name), None)
        return self.document.place(("work_pools", kind)) if kind else None

    @property
    def ownership(self) -> Ownership:
        """Return the owner of the environment's resources."""
        return Ownership(self.project, self.name)

    @property
    def project_stated(self) -> bool:
        """Return whether a file names the project; nothing is pruned under a guessed name."""
        return self.origin("project") != BUILT_IN


class Available(NamedTuple):
    """The content of the folder of environments, read once for all flows.

    Attributes:
        folder: Path of the folder, as locations show it.
        environments: Short name of each environment, by its name.
        kinds: Kinds that have a template.
    """

    folder: str
    environments: dict[str, str]
    kinds: frozenset[str]

    def long_name(self, name: str) -> str | None:
        """Return the name of the environment with this name or short name."""
        by_short_name = (long for long, short in self.environments.items() if short == name)
        return name if name in self.environments else next(by_short_name, None)

    def unknown(self, name: str, place: Location | None = None) -> Diagnostic:
        """Return the error for an environment that does not exist."""
        known = {"known": ", ".join(self.environments), "folder": self.folder}
        suggestion = did_you_mean(name, [*self.environments, *self.environments.values()])
        return diagnostic("MF204", place, name=name, suggestion=suggestion, **known)


def available(root: Path) -> Available:
    """Read the content of the folder of environments."""
    return Available(display_path(configuration_folder(root), root), environment_names(root), template_kinds(root))


def environment_names(root: Path) -> dict[str, str]:
    """Return the short name of each environment, by its name; only `development` if no file describes any."""
    folder = configuration_folder(root)
    if other := next((file for file in sorted(folder.glob("*.yml")) if file.stem in {"defaults", *SHORT_NAMES}), None):
        place = Location(path=display_path(other, root), line=1)
        raise refuse("MF203", place, key=other.name, detail="is not read: environments are files that end in .yaml")
    files = sorted(folder.glob("[!.]*.yaml"))
    return {file.stem: _short_name(file, root) for file in files if file.stem != "defaults"} or {"development": "dev"}


def _short_name(file: Path, root: Path) -> str:
    try:
        short_name = load_document(file, root).data.get("short_name")
    except MetaFlowsError:  # `load_environment` reports it for this environment
        short_name = None
    return short_name if isinstance(short_name, str) else SHORT_NAMES.get(file.stem, file.stem)


def load_environment(root: Path, name: str | None = None) -> Environment:
    """Resolve one environment: built-in defaults < `defaults.yaml` < its own file < environment variables.

    `name` is long or short; it defaults to DEPLOYMENT_ENV, or else `development`.

    Raises:
        MetaFlowsError: MF204, the environment does not exist; or every error in its files.
    """
    known = available(root)
    name = name or settings().deployment_env
    long = known.long_name(name)
    if long is None:
        raise MetaFlowsError([known.unknown(name)])
    short = known.environments[long]
    _check_short_name(long, short, known)
    built_in = {
        "name": long,
        "short_name": short,
        "project": kebab(root.resolve().name) or "flows",
        "work_pools": {"python": {"name": f"{short}-python", "type": "process"}},
    }
    files = (configuration_folder(root) / f"{part}.yaml" for part in ("defaults", long))
    layers = [_with_job_templates(load_document(file, root), root) for file in files if is_there(file)]
    document = merge(Document(built_in), *layers, *_docker_variables())
    environment = Environment.of(document)
    for key in ("name", "short_name"):
        if document.data[key] != built_in[key]:
            detail = f"must be '{built_in[key]}' for the environment that the file's name says"
            raise refuse("MF203", document.place((key,)), key=key, detail=detail)
    if secrets := list(plain_secrets(document, environment.allow_plain)):
        raise MetaFlowsError(secrets)
    return environment


def _check_short_name(long: str, short: str, known: Available) -> None:
    for other, short_of_other in sorted(known.environments.items()):
        if other != long and short in (other, short_of_other):
            place = Location(path=f"{known.folder}/{long}.yaml")
            raise refuse("MF203", place, key="short_name", detail=f"environment {other} is called so, too")


def _docker_variables() -> Iterator[Document]:
    variables = {"registry": settings().docker_registry, "namespace": settings().docker_namespace}
    for key, value in variables.items():
        if value is not None:
            yield Document.from_data({"docker": {key: value}}, f"shell DOCKER_{key.upper()}")


def _with_job_templates(document: Document, root: Path) -> Document:
    """Return a document with the base job templates that are in files of their own."""
    pools = document.data.get("work_pools")
    layers = [document]
    for kind, pool in pools.items() if isinstance(pools, dict) else ():
        template = pool.get("base_job_template") if isinstance(pool, dict) else None
        if isinstance(template, str):
            path = ("work_pools", kind, "base_job_template")
            file = configuration_folder(root) / template
            if not is_there(file):
                raise refuse("MF215", document.place(path), what="the base job template", path=display_path(file, root))
            layers.append(load_document(file, root).under(*path))
    return merge(*layers)
