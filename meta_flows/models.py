"""The nouns of the project, as frozen pydantic models; see docs/concepts.md for what each word means."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""How a deployment runs: the name of a template file, `python` or `docker` among those shipped."""


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""A name that tags, block names, artifact keys and URLs all allow."""


def kebab(text: str) -> str:
    """A slug of some text: `DB_PASSWORD` is `db-password`; empty where there is neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Model(BaseModel):
    """Base of every noun: immutable, and strict about what it is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(Model):
    """Where something stands in the repository.

    Attributes:
        path: POSIX path relative to the repository's root.
        line: One-based line, if one is known.
        column: One-based column, if one is known.
    """

    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


class ValidationError(Model):
    """One thing that is wrong: what, where, and how to mend it.

    Attributes:
        code: Stable code, a key of `meta_flows.errors.CATALOGUE`.
        severity: An `error` refuses the thing it names, a `warning` only tells.
    """

    code: str
    message: str
    remedy: str
    file_path: str | None = None
    line_number: int | None = None
    column_number: int | None = None
    severity: Literal["error", "warning"] = "error"

    @property
    def place(self) -> Place | None:
        """Where it is, or None for something that stands in no file."""
        if self.file_path is None:
            return None
        return Place(path=self.file_path, line=self.line_number, column=self.column_number)

    def as_warning(self) -> ValidationError:
        """The same, where it need not be so."""
        return self.model_copy(update={"severity": "warning"})

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.code} {self.message}\n    remedy: {self.remedy}"


class ValidationResult(Model):
    """Everything that a validation found, not only the first of it."""

    errors: tuple[ValidationError, ...] = ()
    warnings: tuple[ValidationError, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether nothing that was found refuses anything."""
        return not self.errors


class FlowParameter(Model):
    """One parameter of a flow function, as written in its signature.

    Attributes:
        annotation: Source text of the annotation.
        default: Source text of the default value; None where the parameter is required.
        variadic: Whether it is `*args` or `**kwargs`.
    """

    name: str
    annotation: str | None = None
    default: str | None = None
    variadic: bool = False

    @property
    def required(self) -> bool:
        """Whether a run must be given a value for it."""
        return self.default is None and not self.variadic


class ImportedModule(Model):
    """A module that a flow, or what it imports, cannot do without and that is not found in the repository.

    Attributes:
        module: As it is written, with the dots of a relative import.
        place: The first line that imports it.
        missing: What the repository lacks, for an import that looks there; empty for one that looks elsewhere.
    """

    module: str
    place: Place
    missing: str = ""


class FlowMetadata(Model):
    """What reading a flow's source tells about it, without importing it.

    All paths are POSIX paths relative to the repository's root, so that two checkouts of one commit agree.

    Attributes:
        name: The flow's name in Prefect; for a file that cannot be parsed, its path.
        path: The file that defines it.
        module_path: Dotted module, e.g. `flows.rpa1.workflow`.
        function_name: Function, or `Class.method` for a static method; empty for a file that cannot be parsed.
        line: Line of the function's `def`.
        description: The decorator's `description`, else the docstring, as Prefect would show it.
        dependencies: Third-party distributions that the flow and its local modules import.
        imports: What it needs from elsewhere, and what it misses in the repository.
        local_modules: Files of the repository that it imports, directly or not, itself included.
        source_files: `local_modules` and the flow's own files that are no Python.
        source_digest: SHA-256 over the source files, in hexadecimal.
        deployment_file: The nearest `deployment.yaml` at or above the flow's folder.
        decorator_arguments: The names of all its arguments; empty for one that goes by position.
        metadata: The decorator's arguments that are literals.
    """

    name: str
    path: str
    module_path: str
    function_name: str
    line: int = 1
    description: str | None = None
    parameters: tuple[FlowParameter, ...] = ()
    dependencies: tuple[str, ...] = ()
    imports: tuple[ImportedModule, ...] = ()
    local_modules: tuple[str, ...] = ()
    source_files: tuple[str, ...] = ()
    source_digest: str = ""
    dockerfile_path: str | None = None
    env_files: tuple[str, ...] = ()
    deployment_file: str | None = None
    is_valid: bool = True
    validation_errors: tuple[ValidationError, ...] = ()
    decorator_arguments: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def entrypoint(self) -> str:
        """What Prefect loads the flow by: `path/to/file.py:function`."""
        return f"{self.path}:{self.function_name}"

    @property
    def place(self) -> Place:
        """The line of its `def`."""
        return Place(path=self.path, line=self.line)


Action = Literal["create", "update", "delete", "unchanged"]


class _Named(Model):
    """Something about one work pool or deployment."""

    name: str

    @property
    def key(self) -> str:
        """What identifies it on a server: a work pool's name, in which no slash is allowed."""
        return self.name


class _Keyed(_Named):
    """Something about one deployment."""

    flow_name: str

    @property
    def key(self) -> str:
        """What identifies the deployment on a server: `flow/deployment`."""
        return f"{self.flow_name}/{self.name}"


class Deployment(_Keyed):
    """One deployment that the repository asks for, rendered completely.

    Attributes:
        spec: The body of the deployment as the Prefect API has it, without ids; `schedules` is a mapping by slug.
        replaces: Name of the deployment whose place it takes.
    """

    kind: str
    spec: dict[str, Any]
    replaces: str | None = None


class LiveDeployment(_Keyed):
    """One deployment as the server has it.

    Attributes:
        spec: Same shape as `Deployment.spec`, with every field the server returns that a spec can state.
        schedule_ids: Id of each schedule by its key in `spec["schedules"]`.
        updated: When it, or a schedule of it, was last written to, by whoever it was.
        ready: Whether a worker has polled its queue lately.
    """

    id: str
    spec: dict[str, Any]
    schedule_ids: dict[str, str] = Field(default_factory=dict)
    updated: datetime | None = None
    ready: bool = False


class FieldChange(Model):
    """One field that differs; what looks like a secret is named, its values are not held.

    Attributes:
        path: Dotted path within the spec, e.g. `schedules.daily.schedule`.
        drift: Whether the live value is not what the last release put there.
    """

    path: str
    old: Any = None
    new: Any = None
    drift: bool = False


class AnyChange(_Named):
    """What a plan does to something.

    Attributes:
        reason: Why it is deleted, or what it takes the place of.
        target: The complete spec to reach; never serialised, since it can hold what operators typed.
    """

    action: Action
    reason: str = ""
    fields: tuple[FieldChange, ...] = ()
    target: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)


class Change(_Keyed, AnyChange):
    """What a plan does to one deployment.

    Attributes:
        live: The deployment it starts from; never serialised, either.
    """

    kind: str = ""
    live: LiveDeployment | None = Field(default=None, exclude=True, repr=False)

    def __str__(self) -> str:
        return self.name


class WorkPoolChange(AnyChange):
    """What a plan does to one work pool: make one that is missing, or change what is stated of it.

    Attributes:
        live: The spec it starts from, its type, description, concurrency limit and base job template; never
            serialised, either.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # earlier versions recorded new pools, and their template

    action: Action = "create"
    type: str
    live: dict[str, Any] | None = Field(default=None, exclude=True, repr=False)

    def __str__(self) -> str:
        return f"work pool {self.name}"


class Plan(Model):
    """The changes that bring an environment's live state in line with the desired one.

    Attributes:
        work_pools: What is done to work pools, before anything else.
        flows: Flows that the server does not know yet.
        work_queues: Queues, as (pool, queue), that come into being with the first deployment that names them.
        digest: Hash over what would be changed and from what; another live state gives another digest.
        refused: Why deployments were left out of it, e.g. because somebody else owns them.
        kept: Why deployments that the repository no longer has are not deleted.
    """

    project: str
    environment: str
    work_pools: tuple[WorkPoolChange, ...] = ()
    work_queues: tuple[tuple[str, str], ...] = ()
    flows: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    refused: tuple[ValidationError, ...] = ()
    kept: tuple[str, ...] = ()
    digest: str = ""

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes that write something."""
        return tuple(change for change in self.changes if change.action != "unchanged")

    @property
    def in_sync(self) -> bool:
        """Whether there is nothing to do."""
        return not self.pending and not self.work_pools


ReleaseState = Literal["applying", "succeeded", "failed", "rolled-back", "incomplete", "rejected"]


class Release(Model):
    """One applied plan: what it put on the server, and what was there before.

    Attributes:
        id: Sorts by time.
        by: The meta-flow that made it.
        state: `applying` and `incomplete` are unfinished: a deploy that was killed, and one that could not be undone.
        deployments: What is released once it has succeeded, by key: every deployment of the environment.
        previous: What was released before it of the deployments that it changes; None for what was not.
        preimages: What was live of those deployments before the first write; None for those it creates.
        work_pools: What is stated of each work pool that is ours: one that we made, or stated something of.
        previous_work_pools: The same before it.
        work_pool_preimages: What was live of the work pools that it changes.
        failures: Why each deployment or work pool that was not changed as planned was not, by key.
        restores: Id of the release that this one made current again.
        approval: Who approved or rejected it, and why, where somebody was asked.
        flow_run_id: The meta-flow's run.
        dirty: Whether the checkout had uncommitted changes; None outside a git checkout.
    """

    id: str
    project: str
    environment: str
    by: str = "deploy-all"
    state: ReleaseState = "applying"
    started: datetime
    finished: datetime | None = None
    author: str = ""
    commit: str | None = None
    dirty: bool | None = None
    flow_run_id: str | None = None
    restores: str | None = None
    approval: str | None = None
    plan: Plan
    deployments: dict[str, Deployment] = Field(default_factory=dict)
    previous: dict[str, Deployment | None] = Field(default_factory=dict)
    preimages: dict[str, LiveDeployment | None] = Field(default_factory=dict)
    work_pools: dict[str, dict[str, Any]] = Field(default_factory=dict)
    previous_work_pools: dict[str, dict[str, Any]] = Field(default_factory=dict)
    work_pool_preimages: dict[str, dict[str, Any]] = Field(default_factory=dict)
    failures: dict[str, str] = Field(default_factory=dict)

    @property
    def unfinished(self) -> bool:
        """Whether what is live may be neither what it put there nor what was there before."""
        return self.state in ("applying", "incomplete")


class FinishedRun(Model):
    """A run that has ended by itself.

    Attributes:
        state: Name of its final state.
        version: The deployment's version when the run was scheduled.
    """

    state: str
    succeeded: bool
    ended: datetime
    version: str | None = None


class Health(Model):
    """Whether what a deployment is for happens, which is another question than whether it is as the repository says.

    Attributes:
        reasons: Why it is not healthy; the first is the gravest.
        next_run: When the next run is to start, of those that are scheduled.
        last_run: The newest run that has ended by itself.
    """

    status: Literal["Healthy", "Degraded", "Unhealthy", "Unknown"] = "Unknown"
    reasons: tuple[ValidationError, ...] = ()
    next_run: datetime | None = None
    last_run: FinishedRun | None = None


class _Outcome(_Named):
    """What became of something in one run of a meta-flow.

    Attributes:
        state: Name of its task run's state, e.g. `Created` or `Failed`; in a dry run `ToCreate` and the like.
        link: Its page in the Prefect UI; None while it does not exist.
    """

    state: str
    fields: tuple[FieldChange, ...] = ()
    link: str | None = None
    error: str | None = None


class Outcome(_Keyed, _Outcome):
    """What became of one deployment in one run of a meta-flow.

    Attributes:
        reason: Why it is deleted, or what it takes the place of.
        updated: When it was last written to before.
        schedules: Its schedules in words, by slug.
        health: How it does; None where nobody looked, e.g. in a plan.
    """

    kind: str
    reason: str = ""
    updated: datetime | None = None
    schedules: dict[str, str] = Field(default_factory=dict)
    health: Health | None = None


class WorkPoolOutcome(_Outcome):
    """What became of one work pool that was to be made or changed."""

    type: str


class DeployResult(Model):
    """How a meta-flow that changes deployments ended.

    Attributes:
        state: Name of the run's final state, e.g. `InSync`, `Deployed`, `RolledBack`; a key of `reporting.RESULTS`.
        message: Counts, in words.
        refused: What was left out or failed, and why.
        warnings: What rules say that refuses nothing.
        notes: What is worth knowing and refuses nothing.
        release: Id of the release that was recorded; None when nothing was to be recorded.
        plan: What was to be done.
    """

    environment: str
    state: str
    message: str
    outcomes: tuple[Outcome, ...] = ()
    work_pools: tuple[WorkPoolOutcome, ...] = ()
    refused: tuple[ValidationError, ...] = ()
    warnings: tuple[ValidationError, ...] = ()
    notes: tuple[str, ...] = ()
    release: str | None = None
    plan: Plan | None = Field(default=None, exclude=True)
    run_link: str | None = None
    ui_url: str | None = None
