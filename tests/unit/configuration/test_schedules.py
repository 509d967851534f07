"""Schedules: what Prefect takes, and in the form that Prefect gives back."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.server.schemas.actions import DeploymentScheduleCreate

from meta_flows.configuration.documents import Document
from meta_flows.configuration.flow_file import FlowFile
from meta_flows.configuration.schedules import Schedule
from meta_flows.configuration.sections import validate
from meta_flows.diagnostics import MetaFlowsError

UTC = {"timezone": "UTC"}
HOURLY = {"interval": 3600.0, "anchor_date": "2020-01-01T00:00:00Z", **UTC}


def schedule(**stated: Any) -> Schedule:
    return validate(Schedule, Document.from_data(stated, "deployment.yaml"))


@pytest.mark.parametrize(
    ("stated", "timing"),
    [
        ({"cron": "0 6 * * 1-5"}, {"cron": "0 6 * * 1-5", "day_or": True, **UTC}),
        (
            {"cron": "0 6 1 * 1", "day_or": False, "timezone": "Europe/Berlin"},
            {"cron": "0 6 1 * 1", "day_or": False, "timezone": "Europe/Berlin"},
        ),
        ({"cron": "@daily"}, {"cron": "@daily", "day_or": True, **UTC}),
        ({"interval": 3600}, HOURLY),
        ({"interval": "01:00:00"}, HOURLY),
        ({"interval": "PT1H"}, HOURLY),
        ({"interval": 0.5}, {**HOURLY, "interval": 0.5}),
        ({"interval": 3600, "anchor_date": "2024-02-03"}, {**HOURLY, "anchor_date": "2024-02-03T00:00:00Z"}),
        ({"rrule": "FREQ=DAILY"}, {"rrule": "DTSTART:20200101T000000\nFREQ=DAILY", **UTC}),
        (
            {"rrule": "DTSTART:20240101T080000\nRRULE:FREQ=MINUTELY"},
            {"rrule": "DTSTART:20240101T080000\nRRULE:FREQ=MINUTELY", **UTC},
        ),
    ],
)
def test_a_schedule_has_one_form_that_the_server_does_not_change(
    stated: dict[str, Any], timing: dict[str, Any]
) -> None:
    assert schedule(**stated).timing() == timing
    stored = DeploymentScheduleCreate.model_validate({"schedule": timing})
    assert stored.schedule.model_dump(mode="json") == timing


@pytest.mark.parametrize(
    ("stated", "code", "message"),
    [
        ({}, "MF205", "exactly one"),
        ({"cron": "0 6 * * *", "interval": 60}, "MF205", "exactly one"),
        ({"cron": "61 * * * *"}, "MF205", "cron is no cron expression"),
        ({"cron": ""}, "MF205", "cron is no cron expression"),
        ({"cron": "H * * * *"}, "MF205", "cron is no cron expression"),
        ({"interval": 0}, "MF205", "interval must be"),
        ({"interval": -60}, "MF205", "interval must be"),
        ({"interval": "soon"}, "MF205", "interval must be"),
        ({"interval": 1e300}, "MF205", "interval must be"),
        ({"interval": True}, "MF203", "must be a number or must be text"),
        ({"interval": 60, "anchor_date": "soon"}, "MF205", "anchor_date is no moment"),
        ({"rrule": "whenever"}, "MF205", "rrule is no recurrence rule"),
        ({"rrule": "FREQ=DAILY;BYHOUR=x"}, "MF205", "rrule is no recurrence rule"),
        ({"rrule": "FREQ=MINUTELY;INTERVAL=5"}, "MF205", "use interval"),
        ({"cron": "0 6 * * *", "anchor_date": "2024-01-01"}, "MF205", "anchor_date belongs to interval only"),
        ({"interval": 60, "day_or": False}, "MF205", "day_or belongs to cron only"),
        ({"cron": "0 6 * * *", "timezone": "Europe/Berln"}, "MF206", "'Europe/Berln', did you mean 'Europe/Berlin'?"),
        ({"rrule": "FREQ=DAILY", "timezone": "Mars"}, "MF206", "'Mars'"),
        ({"cron": "0 6 * * *", "slug": "Every Day"}, "MF203", "lower-case"),
        ({"cron": "0 6 * * *", "max_scheduled_runs": 0}, "MF203", "greater than 0"),
        ({"crn": "0 6 * * *"}, "MF202", "did you mean 'cron'?"),
    ],
)
def test_what_prefect_would_not_take_is_refused(stated: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(MetaFlowsError) as refused:
        schedule(**stated)
    assert refused.value.errors[0].code == code
    assert message in refused.value.errors[0].message


@pytest.mark.parametrize(
    ("slugs", "wrong"),
    [
        ([None], []),
        (["a", "b"], []),
        ([None, "b"], []),
        ([None, None], ["MF207"]),
        (["a", "b", "a"], ["MF207"]),
        ([None, "default"], ["MF207"]),
    ],
)
def test_the_schedules_of_a_flow_are_told_apart_by_slug(slugs: list[str | None], wrong: list[str]) -> None:
    schedules = [{"cron": "0 6 * * *", **({"slug": slug} if slug else {})} for slug in slugs]
    document = Document.from_data({"schedules": schedules}, "deployment.yaml")
    if not wrong:
        assert [item.slug for item in validate(FlowFile, document).schedules or ()] == [
            slug or "default" for slug in slugs
        ]
        return
    with pytest.raises(MetaFlowsError) as refused:
        validate(FlowFile, document)
    assert [error.code for error in refused.value.errors] == wrong
