"""What a `deployment.yaml` may state about its flow, or about each of several."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from meta_flows.configuration.environment import Ignored, ResourceLimits
from meta_flows.configuration.schedules import Schedule
from meta_flows.configuration.sections import Resolved, Section, wrong
from meta_flows.models import Kind, Slug


class ConcurrencyLimit(Section):
    """How many runs of a deployment may be under way at a time."""

    limit: Annotated[int, Field(gt=0)]
    """Number of runs."""
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"
    """What happens to one more: it waits, or it is cancelled."""
    grace_period_seconds: Annotated[int, Field(ge=60, le=86400)] | None = None
    """How long a run may take to start before its place is given away; the server's own unless stated."""


class KindOptions(Section):
    """What holds for one kind of deployment only."""

    job_variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of the work pool's job template."""
    resource_limits: ResourceLimits | None = None
    """What one run may use."""
    work_queue: str | None = None
    """Queue of the work pool."""
    scheduled: bool = True
    """Whether the flow's schedules hold for this kind; with two kinds that both have them each run starts twice."""


def _spelled_out(kinds: Any) -> Any:
    """`[python]` and `{python: }` as `{python: {}}`."""
    if isinstance(kinds, dict):
        return {kind: {} if options is None else options for kind, options in kinds.items()}
    if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds):
        return {kind: {} for kind in kinds}
    raise ValueError("must be a list of kinds, or a mapping from each kind to what holds for it only")


def _limited(limit: Any) -> Any:
    return limit if isinstance(limit, dict | bool) or limit is None else {"limit": limit}


Kinds = Annotated[
    dict[Kind, KindOptions],
    BeforeValidator(_spelled_out, json_schema_input_type=list[Kind] | dict[Kind, KindOptions | None]),
]
Limit = Annotated[ConcurrencyLimit, BeforeValidator(_limited, json_schema_input_type=int | ConcurrencyLimit)]


class FlowOverrides(Section):
    """What may differ from one environment to another; nothing has to be stated."""

    kinds: Kinds | None = None
    """How it is deployed: names of kinds, or a mapping from names to what holds for that kind only."""
    schedules: list[Schedule] | None = None
    """When runs start by themselves."""
    parameters: dict[str, Any] | None = None
    """Parameters of the runs."""
    tags: list[str] | None = None
    """Tags of the deployment and its runs."""
    description: str | None = None
    """Text for the deployment's page; unless stated, the flow's own description."""
    concurrency_limit: Limit | None = None
    """How many runs may be under way at a time: a number, or more about it."""
    job_variables: dict[str, Any] | None = None
    """Variables of the work pool's job template, for every kind."""
    work_queue: str | None = None
    """Queue of the work pool; the environment's unless stated."""
    resource_limits: ResourceLimits | None = None
    """What one run may use, on top of the environment's limits."""
    paused: bool | None = None
    """Whether the deployment is paused; unless stated it stays as an operator leaves it."""
    enforce_parameter_schema: bool | None = None
    """Whether Prefect refuses runs whose parameters do not fit; it does unless stated."""
    prune: bool | None = None
    """Whether its deployments are deleted once the flow is gone; the environment decides unless stated."""
    ignore: Ignored | None = None
    """Codes of validation rules that are not to be applied to it, e.g. `MF121`."""
    allow_plain: list[str] | None = None
    """Dotted paths of values that look like secrets and are none, e.g. `parameters.token_column`."""

    @field_validator("schedules")
    @classmethod
    def _schedules_are_told_apart(cls, schedules: list[Schedule] | None) -> list[Schedule] | None:
        first: dict[str, Schedule] = {}
        for index, schedule in enumerate(schedules or ()):
            if schedule is not first.setdefault(schedule.slug, schedule):
                stated = "slug" in schedule.model_fields_set
                detail = f"slug '{schedule.slug}' is taken" if stated else "several schedules have no slug"
                raise wrong("MF207", (index,), detail=detail)
        return schedules


class FlowSection(FlowOverrides):
    """What is stated about one flow."""

    slug: Slug | None = None
    """First part of each deployment's name; unless stated made from the folder's or the flow's name."""
    replaces: Slug | None = None
    """Slug that the flow had before; its deployments take over schedules, pauses and all else, and are deleted."""
    environments: dict[str, FlowOverrides | None] | None = None
    """What differs in an environment, by its long or short name."""


class FlowFile(FlowSection):
    """How the flows of one folder are deployed. All keys at the top hold for each of them."""

    flows: dict[str, FlowSection | None] | None = None
    """What holds for one of several flows, by the flow's or its function's name."""


class FlowConfiguration(Resolved):
    """How one flow is deployed to one environment, resolved.

    Attributes:
        kinds: Each with everything that holds for it: what is stated for all kinds is under each of them.
        parameters: Only such as the flow has.
    """

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
