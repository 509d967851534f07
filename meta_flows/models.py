"""The nouns of the project as frozen pydantic models; docs/concepts.md defines each word."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from meta_flows.earlier_versions import upgraded_plan, upgraded_release

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""How a deployment runs: the name of a template file, such as `python` or `docker`."""

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""A name that is valid in tags, block names, artifact keys and URLs."""


def kebab(text: str) -> str:
    """Return a text as a slug: `DB_PASSWORD` becomes `db-password`; empty if it has neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control characters other than tab and newline, invisible characters, and those that change text direction."""


def printable(text: str) -> str:
    r"""Return a text with control and invisible characters as escapes such as `\u202e`."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Model(BaseModel):
    """Base of every noun: immutable, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Location(Model):
    """A position in the repository: a POSIX path relative to its root, a one-based line and a one-based column."""

    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


class Diagnostic(Model):
    """One finding: what is wrong, where, and how to fix it.

    Attributes:
        code: Stable code, a key of `codes.toml`.
        severity: An `error` excludes the object it names; a `warning` excludes nothing.
    """

    code: str
    message: str
    remedy: str
    file_path: str | None = None
    line_number: int | None = None
    column_number: int | None = None
    severity: Literal["error", "warning"] = "error"

    @property
    def place(self) -> Location | None:
        """Return its location; None if it is about no file."""
        if self.file_path is None:
            return None
        return Location(path=self.file_path, line=self.line_number, column=self.column_number)

    def as_warning(self) -> Diagnostic:
        """Return a copy with severity `warning`."""
        return self.model_copy(update={"severity": "warning"})

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.code} {self.message}\n    remedy: {self.remedy}"


class ValidationResult(Model):
    """All findings of a validation."""

    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Return whether there are no errors."""
        return not self.errors


class FlowParameter(Model):
    """A flow function's parameter; `annotation` and `default` are source text, `variadic` marks `*args`, `**kwargs`."""

    name: str
    annotation: str | None = None
    default: str | None = None
    variadic: bool = False

    @property
    def required(self) -> bool:
        """Return whether every run needs a value for it."""
        return self.default is None and not self.variadic


class ImportedModule(Model):
    """A module that a flow or one of its local modules requires and that the repository does not contain.

    Attributes:
        module: Name as written, with the dots of a relative import.
        place: First line that imports it.
        missing: Path that an import from the repository lacks; empty for an import of an installed module.
    """

    module: str
    place: Location
    missing: str = ""


class FlowMetadata(Model):
    """A flow as its source describes it, read without importing it.

    All paths are POSIX paths relative to the repository's root, so that two checkouts of one commit agree.

    Attributes:
        name: Flow name in Prefect; for a file that cannot be parsed, its path.
        module_path: Dotted module, e.g. `flows.rpa1.workflow`.
        function_name: Function, or `Class.method` for a static method; empty for a file that cannot be parsed.
        line: Line of the function's `def`.
        description: The decorator's `description`, else the docstring, as Prefect would show it.
        dependencies: Third-party distributions that the flow and its local modules import.
        imports: Required modules that the repository does not contain.
        local_modules: Files of the repository that it imports, directly or indirectly, and its own.
        source_files: `local_modules` and the flow's own files other than Python.
        source_digest: Hexadecimal SHA-256 over the source files.
        deployment_file: Nearest `deployment.yaml` at or above the flow's folder.
        decorator_arguments: Names of all arguments of the decorator; empty for a positional one.
        metadata: Arguments of the decorator that are literals.
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
    validation_errors: tuple[Diagnostic, ...] = ()
    decorator_arguments: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def entrypoint(self) -> str:
        """Return the path that Prefect loads the flow by: `path/to/file.py:function`."""
        return f"{self.path}:{self.function_name}"

    @property
    def place(self) -> Location:
        """Return the location of its `def`."""
        return Location(path=self.path, line=self.line)


Action = Literal["create", "update", "delete", "unchanged"]


class Ownership(NamedTuple):
    """The project and environment that own a resource."""

    project: str
    environment: str

    @property
    def tags(self) -> tuple[str, str]:
        """Return the tags of owned resources; the server can filter by tags, not by labels."""
        return f"project:{self.project}", f"environment:{self.environment}"


class Identified(Model):
    """The identity of one resource.

    Attributes:
        type: Resource type, a key of `meta_flows.resources.TYPES`.
        flow_name: Flow of a deployment; empty for the other types.
    """

    type: str = "deployment"
    name: str
    flow_name: str = ""

    @property
    def key(self) -> str:
        """Return its key among the resources of its type: `flow/name` for a deployment, else its name."""
        return f"{self.flow_name}/{self.name}" if self.flow_name else self.name

    @property
    def address(self) -> str:
        """Return its key among all resources of a server: `type/key`; no type has a slash in its name."""
        return f"{self.type}/{self.key}"


class Resource(Identified):
    """One fully rendered resource that the repository declares or a release has applied.

    Attributes:
        kind: Kind of a deployment, or type of a work pool.
        spec: Body in the Prefect API's shape, without ids; a deployment's `schedules` are a mapping by slug.
        replaces: Name of the deployment that it replaces.
    """

    kind: str = ""
    spec: dict[str, Any]
    replaces: str | None = None


class LiveResource(Identified):
    """One resource as the server has it.

    Attributes:
        spec: Same shape as `Resource.spec`, with every field the server returns that a spec can declare.
        part_ids: Ids of the parts that have requests of their own, i.e. a deployment's schedules, by key.
        updated: Last write to it or to a part of it, by any client.
        ready: Whether a worker has polled it recently.
    """

    id: str
    spec: dict[str, Any]
    part_ids: dict[str, str] = Field(default_factory=dict)
    updated: datetime | None = None
    ready: bool = False


class FieldChange(Model):
    """One field that differs; the values of one that looks secret are masked.

    Attributes:
        path: Dotted path within the spec, e.g. `schedules.daily.schedule`.
        drift: Whether the live value differs from what the last release applied.
    """

    path: str
    old: Any = None
    new: Any = None
    drift: bool = False


class Change(Identified):
    """The planned change of one resource.

    Attributes:
        reason: Why it is deleted, or what it replaces.
        target: Complete spec to reach; never serialised, since it can hold values that operators entered.
        live: State before the change; never serialised either.
    """

    action: Action
    kind: str = ""
    reason: str = ""
    fields: tuple[FieldChange, ...] = ()
    target: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    live: LiveResource | None = Field(default=None, exclude=True, repr=False)

    def __str__(self) -> str:
        return self.name if self.type == "deployment" else f"{self.type.replace('_', ' ')} {self.name}"


class Plan(Model):
    """The changes that bring an environment's live state in line with the desired one.

    Attributes:
        changes: One change per resource, in the order in which they are applied.
        flows: Flows that the server does not know yet.
        work_queues: Queues, as (pool, queue), that the server creates with the first deployment that names them.
        digest: Hash over the changes and the live state that they start from.
        refused: Why resources are left out, e.g. because another project owns them.
        kept: Why undeclared deployments are not deleted.
    """

    project: str
    environment: str
    changes: tuple[Change, ...] = ()
    flows: tuple[str, ...] = ()
    work_queues: tuple[tuple[str, str], ...] = ()
    refused: tuple[Diagnostic, ...] = ()
    kept: tuple[str, ...] = ()
    digest: str = ""

    _upgrade = model_validator(mode="before")(upgraded_plan)

    @property
    def pending(self) -> tuple[Change, ...]:
        """Return the changes that need a request."""
        return tuple(change for change in self.changes if change.action != "unchanged")

    @property
    def in_sync(self) -> bool:
        """Return whether no change is pending."""
        return not self.pending


ReleaseState = Literal["applying", "succeeded", "failed", "rolled-back", "incomplete", "rejected"]


class Release(Model):
    """One applied plan, with the state before and after it.

    Attributes:
        id: Sorts by time.
        by: Meta-flow that made it.
        state: `applying` and `incomplete` are unfinished: a deploy that was killed, and one that could not be undone.
        all_or_nothing: Whether a failure undoes all changes; otherwise the successful ones stay.
        resources: Every resource of the environment after the release has succeeded, by address.
        previous: Resources of the release before, by address, where they differ; None for those it did not have.
        preimages: Live state of each changed resource before the first write, by address; None for created ones.
        written: Complete specs written to resources that existed before, by address, so that an undo can tell them
            from later writes by others; None in records of earlier versions.
        deleted: Addresses of what this release, or an abandoned one before it, deletes.
        failures: Why a resource was not changed as planned, by address.
        restores: Id of the earlier release that this one made current again.
        approval: Who approved or rejected it, and why.
        dirty: Whether the checkout had uncommitted changes; None outside a git checkout.
    """

    id: str
    project: str
    environment: str
    by: str = "deploy-all"
    state: ReleaseState = "applying"
    all_or_nothing: bool = True
    started: datetime
    finished: datetime | None = None
    author: str = ""
    commit: str | None = None
    dirty: bool | None = None
    flow_run_id: str | None = None
    restores: str | None = None
    approval: str | None = None
    plan: Plan
    resources: dict[str, Resource] = Field(default_factory=dict)
    previous: dict[str, Resource | None] = Field(default_factory=dict)
    preimages: dict[str, LiveResource | None] = Field(default_factory=dict)
    written: dict[str, tuple[dict[str, Any], ...]] | None = None
    deleted: tuple[str, ...] = ()
    failures: dict[str, str] = Field(default_factory=dict)

    _upgrade = model_validator(mode="before")(upgraded_release)

    @property
    def unfinished(self) -> bool:
        """Return whether the live state may match neither this release nor the one before."""
        return self.state in ("applying", "incomplete")

    @property
    def to_undo(self) -> bool:
        """Return whether the next deploy must undo it."""
        return self.unfinished and self.all_or_nothing


class FinishedRun(Model):
    """A run that ended without being cancelled; `version` is the deployment's version when it was scheduled."""

    state: str
    succeeded: bool
    ended: datetime
    version: str | None = None


class Health(Model):
    """Whether a deployment's runs are scheduled, picked up and succeed; independent of whether it is in sync.

    Attributes:
        reasons: Why it is not healthy, the most severe first.
        next_run: Start of the next scheduled run.
        last_run: Newest finished run.
    """

    status: Literal["Healthy", "Progressing", "Degraded", "Unhealthy", "Unknown"] = "Unknown"
    reasons: tuple[Diagnostic, ...] = ()
    next_run: datetime | None = None
    last_run: FinishedRun | None = None


class Outcome(Identified):
    """One row of a report: the result of one resource in one run of a meta-flow.

    Attributes:
        kind: Kind of a deployment, or type of a work pool.
        state: Name of its task run's state, e.g. `Created` or `Failed`; in a dry run `ToCreate` and the like.
        reason: Why it is deleted, or what it replaces.
        link: Its page in the Prefect UI; None while it does not exist.
        updated: Last write before this run.
        schedules: A deployment's schedules in words, by slug.
        health: A deployment's health; None where it was not read, e.g. in a plan.
    """

    kind: str
    state: str
    reason: str = ""
    fields: tuple[FieldChange, ...] = ()
    link: str | None = None
    error: str | None = None
    updated: datetime | None = None
    schedules: dict[str, str] = Field(default_factory=dict)
    health: Health | None = None


class DeployResult(Model):
    """The result of a meta-flow that changes deployments.

    Attributes:
        state: Name of the run's final state, e.g. `InSync`, `Deployed`, `RolledBack`; a key of `reporting.RESULTS`.
        message: Counts, in words.
        outcomes: A row per deployment, and per other resource that is changed.
        refused: Why something was left out or failed.
        release: Id of the recorded release; None if there was nothing to record.
    """

    environment: str
    state: str
    message: str
    outcomes: tuple[Outcome, ...] = ()
    refused: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    release: str | None = None
    plan: Plan | None = Field(default=None, exclude=True)
    run_link: str | None = None
    ui_url: str | None = None
