"""The keys of a `deployment.yaml`, and the configuration of one flow that results from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from meta_flows.configuration.environment import Ignored, ResourceLimits
from meta_flows.configuration.schedules import Schedule
from meta_flows.configuration.sections import Resolved, Section, wrong
from meta_flows.models import Kind, Slug


class ConcurrencyLimit(Section):
    """How many runs of a deployment may be active at a time."""

    limit: Annotated[int, Field(gt=0)]
    """Number of runs."""
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"
    """What happens to a run above the limit: it waits, or it is cancelled."""
    grace_period_seconds: Annotated[int, Field(ge=60, le=86400)] | None = None
    """How long a run may take to start before it loses its slot, in seconds; the server's default unless set."""


class KindOptions(Section):
    """Options of one kind of deployment."""

    job_variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of the work pool's job template."""
    resource_limits: ResourceLimits | None = None
    """What one run may use."""
    work_queue: str | None = None
    """Queue of the work pool."""
    scheduled: bool = True
    """Whether this kind has the flow's schedules; if two kinds have them, each run starts twice."""


def _expanded_kinds(kinds: Any) -> Any:
    """Expand `[python]` and `{python: }` to `{python: {}}`."""
    if isinstance(kinds, dict):
        return {kind: {} if options is None else options for kind, options in kinds.items()}
    if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds):
        return {kind: {} for kind in kinds}
    raise ValueError("must be a list of kinds, or a mapping from each kind to what holds for it only")


def _expanded_limit(limit: Any) -> Any:
    return limit if isinstance(limit, dict | bool) or limit is None else {"limit": limit}


Kinds = Annotated[
    dict[Kind, KindOptions],
    BeforeValidator(_expanded_kinds, json_schema_input_type=list[Kind] | dict[Kind, KindOptions | None]),
]
Limit = Annotated[ConcurrencyLimit, BeforeValidator(_expanded_limit, json_schema_input_type=int | ConcurrencyLimit)]


class FlowOverrides(Section):
    """Keys that may differ from one environment to another; all are optional."""

    kinds: Kinds | None = None
    """Kinds of its deployments: a list of names, or a mapping from each name to options of that kind."""
    schedules: list[Schedule] | None = None
    """Schedules of its runs."""
    parameters: dict[str, Any] | None = None
    """Parameters of the runs."""
    tags: list[str] | None = None
    """Tags of the deployment and its runs."""
    description: str | None = None
    """Text for the deployment's page; the flow's own description unless set."""
    concurrency_limit: Limit | None = None
    """How many runs may be active at a time: a number or a mapping."""
    job_variables: dict[str, Any] | None = None
    """Variables of the work pool's job template, for every kind."""
    work_queue: str | None = None
    """Queue of the work pool; the environment's unless set."""
    resource_limits: ResourceLimits | None = None
    """What one run may use; overrides the environment's limits key by key."""
    paused: bool | None = None
    """Whether the deployment is paused; stays as an operator leaves it unless set."""
    enforce_parameter_schema: bool | None = None
    """Whether Prefect rejects runs whose parameters do not match the schema; it does unless set."""
    prune: bool | None = None
    """Whether its deployments are deleted once the flow is gone; the environment decides unless set."""
    ignore: Ignored | None = None
    """Codes of validation rules to ignore for it, e.g. `MF121`."""
    allow_plain: list[str] | None = None
    """Dotted paths of values that only look secret, e.g. `parameters.token_column`."""

    @field_validator("schedules")
    @classmethod
    def _slugs_are_unique(cls, schedules: list[Schedule] | None) -> list[Schedule] | None:
        first: dict[str, Schedule] = {}
        for index, schedule in enumerate(schedules or ()):
            if schedule is not first.setdefault(schedule.slug, schedule):
                has_slug = "slug" in schedule.model_fields_set
                detail = f"slug '{schedule.slug}' is taken" if has_slug else "several schedules have no slug"
                raise wrong("MF207", (index,), detail=detail)
        return schedules


class FlowSection(FlowOverrides):
    """Keys of one flow."""

    slug: Slug | None = None
    """First part of each deployment's name; made from the folder's or the flow's name unless set."""
    replaces: Slug | None = None
    """Earlier slug of the flow; its new deployments inherit the old ones' schedules and pauses, and replace them."""
    environments: dict[str, FlowOverrides | None] | None = None
    """Keys that differ in an environment, by its long or short name."""


class FlowFile(FlowSection):
    """How the flows of one folder are deployed. Top-level keys hold for each of them."""

    flows: dict[str, FlowSection | None] | None = None
    """Keys of one of several flows, by the name of the flow or of its function."""


class FlowConfiguration(Resolved):
    """The resolved configuration of one flow in one environment; each kind has the options of all kinds as well."""

    slug: Slug
    replaces: Slug | None = None
    kinds: dict[Kind, KindOptions]
    schedules: tuple[Schedule, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    description: str | None = None
    concurrency_limit: Limit | None = None
    paused: bool | None = None
    enforce_parameter_schema: bool = True
    ignore: Ignored = Field(default_factory=list)
    allow_plain: list[str] = Field(default_factory=list)
    prune: bool | None = None
