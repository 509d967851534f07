"""Environments: what a file in `environments/` may state, and one resolved of all that is stated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from meta_flows.configuration.documents import Document, merge
from meta_flows.configuration.reading import configuration_folder, load_document, place_path
from meta_flows.configuration.schedules import Schedule
from meta_flows.configuration.secrets import looks_secret, plain_secrets
from meta_flows.configuration.sections import BUILT_IN, Cpu, Memory, Resolved, Section
from meta_flows.configuration.settings import Settings
from meta_flows.configuration.templates import template_kinds
from meta_flows.diagnostics import MetaFlowsError, catalogue, diagnostic, did_you_mean, refuse
from meta_flows.files import is_there
from meta_flows.models import Diagnostic, Kind, Location, Ownership, Slug, kebab

SHORT_NAMES = {"development": "dev", "staging": "staging", "production": "prod"}
"""Short names of the usual environments; any other one's is its name."""

Name = Annotated[str, Field(pattern=r"^[a-z](-?[a-z0-9])*$")]
"""No name has two dashes in a row: they stand between names, where one is made of several."""

Project = Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9])*$")]


def _rule(code: str) -> str:
    rules = sorted(code for code, entry in catalogue().items() if entry.can_be_ignored)
    if code not in rules:
        raise ValueError("must be the code of a rule that can be ignored: " + ", ".join(rules))
    return code


Ignored = list[Annotated[str, AfterValidator(_rule)]]


class WorkPool(Section):
    """The work pool that deployments of one kind go to; it is created when it is missing.

    Of one that exists, what is stated here is kept as stated, and all else is left alone.
    """

    name: str
    """Name of the pool on the server."""
    type: str = "process"
    """Prefect's type of the pool; unless stated `process` for python, and for any other kind its own name."""
    work_queue: str | None = None
    """Queue of the pool; its default queue unless stated."""
    description: str | None = None
    """What the pool is for."""
    concurrency_limit: Annotated[int, Field(ge=0)] | None = None
    """How many runs of the pool may be under way at a time; `null` for any number."""
    base_job_template: Annotated[
        dict[str, Any] | None,
        BeforeValidator(lambda stated: stated, json_schema_input_type=dict[str, Any] | str | None),
    ] = None
    """Base job template, complete or in part, or the path of a file from this folder, in YAML or JSON; in a new pool
    what is left out comes from the type's own template."""

    @property
    def spec(self) -> dict[str, Any]:
        """What is stated of the pool, as the Prefect API has it."""
        stated = self.model_dump(include={"description", "concurrency_limit", "base_job_template"}, exclude_unset=True)
        if not self.base_job_template:
            stated.pop("base_job_template", None)
        return {"type": self.type, **stated}


class ResourceLimits(Section):
    """What one run may use; kinds that cannot enforce it say so."""

    memory: Memory | None = None
    """Memory as Kubernetes writes it: `512Mi`, `2Gi`."""
    cpu: Cpu | None = None
    """Processors as Kubernetes writes them: `500m`, `0.5`, `2`."""


class DockerSettings(Section):
    """Where images come from and go to."""

    registry: str | None = None
    """Registry, e.g. `registry.example.com/team`; images stay on this machine unless stated."""
    namespace: str = "flows"
    """First part of each image's name."""
    image_pull_policy: Literal["Always", "IfNotPresent", "IfPossible", "Never"] = "IfNotPresent"
    """When a worker pulls the image."""
    platform: str | None = None
    """Platform to build for, e.g. `linux/amd64`; the builder's own unless stated."""
    tag: str | None = None
    """Tag that names each image's newest content; the environment's short name unless stated."""
    networks: list[str] = Field(default_factory=list)
    """Networks that containers join, made where they are missing; the server's own if it is on this machine."""
    build_args: dict[str, str] = Field(default_factory=dict)
    """Build arguments, for those Dockerfiles that take them, e.g. `BASE_IMAGE`."""
    build_backend: Literal["docker-py", "buildx"] = "docker-py"
    """What builds: the engine's classic builder, or buildx for Dockerfiles that need BuildKit."""


class LocalSource(Section):
    """Runs use the code in the folder that was deployed from."""

    type: Literal["local"]
    """The code is in a folder."""


class GitSource(Section):
    """Runs clone the code at the commit that was deployed."""

    type: Literal["git"]
    """The code is in a git repository."""
    repository: str
    """Address to clone from."""
    branch: str | None = None
    """Branch that a commit to deploy must be on."""
    commit: str | None = None
    """Commit to deploy; the one that is checked out unless stated."""
    credentials: Annotated[str, Field(pattern=r"^\{\{ *prefect\.blocks\.[\w.-]+ *\}\}$")] | None = None
    """Block to clone with, e.g. `{{ prefect.blocks.github-credentials.robot }}`."""


class Registration(Section):
    """How the meta-flows themselves become deployments of this environment, by `make register`."""

    work_pool: str | None = None
    """Work pool whose worker has the repository and, where images are built, a Docker engine; that of python unless
    stated. Where it is missing, it is created for processes."""
    job_variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of that work pool's job template."""
    qualifier: Slug | None = None
    """Part of their names, where several projects share a server: `billing` makes `deploy-all-billing-dev`."""


class ReconcileSettings(Section):
    """What the `reconcile` meta-flow does when live is not what was released, and when it looks."""

    policy: Literal["report", "repair", "deploy"] = "repair"
    """Report drift only; bring back what was released; or deploy a branch of the git source."""
    branch: str | None = None
    """Branch to deploy, with the policy `deploy`; the source's own unless stated."""
    schedule: Schedule | None = None
    """When it runs; every 15 minutes unless stated, and in development never."""
    jitter: Annotated[float, Field(ge=0, le=3600)] = 0
    """Longest time that a scheduled run waits before it begins, in seconds; environments then begin apart."""


def _pools(pools: Any) -> Any:
    """Spell out `python: some-pool`, and the type that fits each kind."""
    if not isinstance(pools, dict):
        return pools
    named = {kind: {"name": pool} if isinstance(pool, str) else pool for kind, pool in pools.items()}
    types = {"python": "process"}
    return {
        kind: {"type": types.get(kind, kind)} | pool if isinstance(pool, dict) else pool for kind, pool in named.items()
    }


def _api_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be an http:// or https:// address that ends in /api")
    if looks_secret("", url):
        raise ValueError("must not hold a password: that belongs into PREFECT_API_AUTH_STRING")
    return url.rstrip("/")


class Environment(Resolved):
    """One environment: a Prefect server and how flows are deployed to it.

    Every key may stand in `defaults.yaml`, too, for all environments. Unless stated otherwise it is a
    development environment on the local server.
    """

    name: Name = "development"
    """Name of the environment, the same as the file's."""
    short_name: Name = "dev"
    """Last part of each deployment's name; `dev`, `staging` and `prod` for the usual environments."""
    project: Project = "flows"
    """Who owns the deployments, as a tag on each; the repository's folder unless stated."""
    prefect_api_url: Annotated[str, AfterValidator(_api_url)] = "http://127.0.0.1:4200/api"
    """Address of the Prefect server's API."""
    work_pools: Annotated[
        dict[Kind, WorkPool], BeforeValidator(_pools, json_schema_input_type=dict[Kind, str | WorkPool])
    ] = Field(default_factory=lambda: {"python": WorkPool(name="dev-python")})
    """Work pool of each kind: a name, or more about it."""
    default_parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters for those flows that have them."""
    resource_limits: ResourceLimits | None = None
    """What one run may use, unless its flow says otherwise."""
    docker: DockerSettings = DockerSettings()
    """Where images come from and go to."""
    source: LocalSource | GitSource = Field(LocalSource(type="local"), discriminator="type")
    """Where runs get the code from: a local folder, or git at a pinned commit."""
    strict: bool = False
    """Whether one invalid flow refuses the whole deploy, instead of being left out."""
    require_approval: bool = False
    """Whether a plan has to be approved before it is applied."""
    approval_timeout: Annotated[int, Field(gt=0)] = 24 * 3600
    """How long a run waits to be approved before it fails, in seconds."""
    prune: bool = False
    """Whether a deploy deletes deployments that the repository no longer asks for."""
    prune_limit: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Largest share of the environment's deployments that one deploy may delete; `1` allows all of them."""
    on_failure: Literal["rollback", "continue"] = "rollback"
    """Whether one failed write takes the whole deploy back, or leaves what succeeded in place."""
    lock_wait: Annotated[float, Field(ge=0)] = 120
    """How long a deploy waits for another one of the same environment to end, in seconds."""
    reconcile: ReconcileSettings = ReconcileSettings()
    """What the `reconcile` meta-flow does about drift, and when it looks."""
    registration: Registration = Registration()
    """How the meta-flows themselves become deployments."""
    ignore: Ignored = Field(default_factory=list)
    """Codes of validation rules that are not to be applied, e.g. `MF623`; a flow's file may name more."""
    allow_plain: list[str] = Field(default_factory=list)
    """Dotted paths of values that look like secrets and are none, e.g. `parameters.token_column`; a flow's file may
    name more."""
    schedules_active: bool | None = None
    """Whether schedules run; unless stated they do when they are created, and then stay as an operator leaves them."""

    @property
    def pools(self) -> tuple[WorkPool, ...]:
        """The work pools of all kinds, and the meta-flows' own if they have one."""
        own, declared = self.registration.work_pool, tuple(self.work_pools.values())
        return (*declared, WorkPool(name=own)) if own and own not in {pool.name for pool in declared} else declared

    def place_of_pool(self, name: str) -> Location | None:
        """Where a work pool is stated."""
        kinds = (kind for kind, pool in self.work_pools.items() if pool.name == name)
        return next((self.document.place(("work_pools", kind)) for kind in kinds), None)

    @property
    def ownership(self) -> Ownership:
        """Whose the resources of this environment are."""
        return Ownership(self.project, self.name)

    @property
    def project_stated(self) -> bool:
        """Whether a file names the project; nothing is pruned under a guessed name."""
        return self.origin("project") != BUILT_IN


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

    def unknown(self, name: str, place: Location | None = None) -> Diagnostic:
        """The error for an environment that is not there."""
        known = {"known": ", ".join(self.environments), "folder": self.folder}
        suggestion = did_you_mean(name, [*self.environments, *self.environments.values()])
        return diagnostic("MF204", place, name=name, suggestion=suggestion, **known)


def available(root: Path) -> Available:
    """What the folder of environments has."""
    return Available(place_path(configuration_folder(root), root), environment_names(root), template_kinds(root))


def environment_names(root: Path) -> dict[str, str]:
    """The short name of each environment by its name; only `development` where no file describes any.

    Args:
        root: The repository.
    """
    folder = configuration_folder(root)
    if other := next((file for file in sorted(folder.glob("*.yml")) if file.stem in {"defaults", *SHORT_NAMES}), None):
        place = Location(path=place_path(other, root), line=1)
        raise refuse("MF203", place, key=other.name, detail="is not read: environments are files that end in .yaml")
    files = sorted(folder.glob("[!.]*.yaml"))
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
        raise MetaFlowsError([known.unknown(name)])
    short = known.environments[long]
    for other, others_short in sorted(known.environments.items()):
        if other != long and short in (other, others_short):
            place = Location(path=f"{known.folder}/{long}.yaml")
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
        *(_with_templates(load_document(file, root), root) for file in files if is_there(file)),
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
    if secrets := list(plain_secrets(document, environment.allow_plain)):
        raise MetaFlowsError(secrets)
    return environment


def _with_templates(document: Document, root: Path) -> Document:
    """The same with the base job templates that stand in files of their own."""
    pools, found = document.data.get("work_pools"), [document]
    for kind, pool in pools.items() if isinstance(pools, dict) else ():
        stated = pool.get("base_job_template") if isinstance(pool, dict) else None
        if isinstance(stated, str):
            path = ("work_pools", kind, "base_job_template")
            file = configuration_folder(root) / stated
            if not is_there(file):
                raise refuse("MF215", document.place(path), what="the base job template", path=place_path(file, root))
            found.append(load_document(file, root).under(*path))
    return merge(*found)
