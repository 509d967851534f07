"""The nouns of the project, as frozen pydantic models; see docs/concepts.md for what each word means."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from meta_flows.earlier_versions import upgraded_plan, upgraded_release

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""How a deployment runs: the name of a template file, `python` or `docker` among those shipped."""


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""A name that tags, block names, artifact keys and URLs all allow."""


def kebab(text: str) -> str:
    """A slug of some text: `DB_PASSWORD` is `db-password`; empty where there is neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control characters but tab and newline, and those that change the direction of text or that are invisible."""


def printable(text: str) -> str:
    r"""Return a text with what a terminal or a page would obey, and not show, as escapes such as `\u202e`."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Model(BaseModel):
    """Base of every noun: immutable, and strict about what it is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Location(Model):
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


class Diagnostic(Model):
    """One thing that is wrong: what, where, and how to fix it.

    Attributes:
        code: Stable code, a key of `codes.toml`.
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
    def place(self) -> Location | None:
        """Where it is, or None for something that stands in no file."""
        if self.file_path is None:
            return None
        return Location(path=self.file_path, line=self.line_number, column=self.column_number)

    def as_warning(self) -> Diagnostic:
        """The same, where it need not be so."""
        return self.model_copy(update={"severity": "warning"})

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.code} {self.message}\n    remedy: {self.remedy}"


class ValidationResult(Model):
    """Everything that a validation found, not only the first of it."""

    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

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
    place: Location
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
    validation_errors: tuple[Diagnostic, ...] = ()
    decorator_arguments: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def entrypoint(self) -> str:
        """What Prefect loads the flow by: `path/to/file.py:function`."""
        return f"{self.path}:{self.function_name}"

    @property
    def place(self) -> Location:
        """The line of its `def`."""
        return Location(path=self.path, line=self.line)


Action = Literal["create", "update", "delete", "unchanged"]


class Ownership(NamedTuple):
    """Whose resources they are."""

    project: str
    environment: str

    @property
    def tags(self) -> tuple[str, str]:
        """The tags of what is ours; the server can filter by tags, not by labels."""
        return f"project:{self.project}", f"environment:{self.environment}"


class Identified(Model):
    """Something about one resource.

    Attributes:
        type: Name of its resource type, a key of `meta_flows.resources.TYPES`.
        flow_name: The flow of a deployment; empty for the other types.
    """

    type: str = "deployment"
    name: str
    flow_name: str = ""

    @property
    def key(self) -> str:
        """What identifies it among the resources of its type: `flow/name` for a deployment, else its name."""
        return f"{self.flow_name}/{self.name}" if self.flow_name else self.name

    @property
    def address(self) -> str:
        """What identifies it among all resources of a server: `type/key`; no type has a slash in its name."""
        return f"{self.type}/{self.key}"


class Resource(Identified):
    """One resource that the repository declares, rendered completely, or that a release has applied.

    Attributes:
        kind: How a deployment runs, or a work pool's type.
        spec: Its body as the Prefect API has it, without ids; a deployment's `schedules` are a mapping by slug.
        replaces: Name of the deployment whose place it takes.
    """

    kind: str = ""
    spec: dict[str, Any]
    replaces: str | None = None


class LiveResource(Identified):
    """One resource as the server has it.

    Attributes:
        spec: Same shape as `Resource.spec`, with every field the server returns that a spec can declare.
        part_ids: Id of each part that is written to on its own, i.e. of a deployment's schedules, by its key.
        updated: When it, or a part of it, was last written to, by whatever client.
        ready: Whether a worker has polled it lately; not part of what it is.
    """

    id: str
    spec: dict[str, Any]
    part_ids: dict[str, str] = Field(default_factory=dict)
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


class Change(Identified):
    """What a plan does to one resource.

    Attributes:
        reason: Why it is deleted, or what it takes the place of.
        target: The complete spec to reach; never serialised, since it can hold what operators typed.
        live: What it starts from; never serialised, either.
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
        changes: What is done to each resource, in the order in which it is done.
        flows: Flows that the server does not know yet.
        work_queues: Queues, as (pool, queue), that come into being with the first deployment that names them.
        digest: Hash over what would be changed and from what; another live state gives another digest.
        refused: Why resources were left out of it, e.g. because another project owns them.
        kept: Why deployments that the repository no longer has are not deleted.
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
        """The changes that write something."""
        return tuple(change for change in self.changes if change.action != "unchanged")

    @property
    def in_sync(self) -> bool:
        """Whether there is nothing to do."""
        return not self.pending


ReleaseState = Literal["applying", "succeeded", "failed", "rolled-back", "incomplete", "rejected"]


class Release(Model):
    """One applied plan: what it put on the server, and what was there before.

    Attributes:
        id: Sorts by time.
        by: The meta-flow that made it.
        state: `applying` and `incomplete` are unfinished: a deploy that was killed, and one that could not be undone.
        all_or_nothing: Whether a failure undoes all of it; otherwise what succeeded stays.
        resources: What is released once it has succeeded, by address: every resource of the environment.
        previous: What was released before it of the resources for which that differs; None for what was not.
        preimages: What was live of the resources that it changes, before the first write; None for those it creates.
        written: The complete specs that are written to resources that there were before, by address, so that an undo
            can tell them from what others have written since; None in records of earlier versions.
        deleted: Addresses of what it deletes, or one deletes from which it went on.
        failures: Why each resource that was not changed as planned was not, by address.
        restores: Id of the release that this one made current again.
        approval: Who approved or rejected it, and why, where that was asked.
        flow_run_id: The meta-flow's run.
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
        """Whether what is live may be neither what it put there nor what was there before."""
        return self.state in ("applying", "incomplete")

    @property
    def to_undo(self) -> bool:
        """Whether what it left half done is to be undone."""
        return self.unfinished and self.all_or_nothing


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
    reasons: tuple[Diagnostic, ...] = ()
    next_run: datetime | None = None
    last_run: FinishedRun | None = None


class Outcome(Identified):
    """One row of a report: how one resource ended in one run of a meta-flow.

    Attributes:
        kind: How a deployment runs, or a work pool's type.
        state: Name of its task run's state, e.g. `Created` or `Failed`; in a dry run `ToCreate` and the like.
        reason: Why it is deleted, or what it takes the place of.
        link: Its page in the Prefect UI; None while it does not exist.
        updated: When it was last written to before.
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
    """How a meta-flow that changes deployments ended.

    Attributes:
        state: Name of the run's final state, e.g. `InSync`, `Deployed`, `RolledBack`; a key of `reporting.RESULTS`.
        message: Counts, in words.
        outcomes: A row for each deployment, and for each other resource that is changed.
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
    refused: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    release: str | None = None
    plan: Plan | None = Field(default=None, exclude=True)
    run_link: str | None = None
    ui_url: str | None = None
