"""What we expect of the names of Prefect that may change with its version."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import prefect
import pytest
from prefect import flow
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, PREFECT_UI_URL, get_current_settings, temporary_settings

from meta_flows.prefect_api import compat
from meta_flows.prefect_api.connection import minor

NEWER = minor(prefect.__version__) >= (3, 8)


def test_placeholders_are_found_and_told_apart() -> None:
    found = {item.name: item.type for item in compat.find_placeholders("{{ a.b }} {{ prefect.variables.c }} {{ $D }}")}
    assert found == {
        "a.b": compat.PlaceholderType.STANDARD,
        "prefect.variables.c": compat.PlaceholderType.VARIABLE,
        "$D": compat.PlaceholderType.ENV_VAR,
    }
    blocks = compat.find_placeholders("{{ prefect.blocks.secret.e }}")
    assert [block.type for block in blocks] == [compat.PlaceholderType.BLOCK_DOCUMENT]


def test_values_are_filled_in_and_keep_their_type_where_they_are_all_of_a_text() -> None:
    filled = compat.apply_values({"n": "{{ n }}", "text": "n={{ n }}", "later": "{{ other }}"}, {"n": 3}, False)
    assert filled == {"n": 3, "text": "n=3", "later": "{{ other }}"}


def test_a_quoted_argument_reaches_a_task_as_it_is() -> None:
    given = object()
    assert compat.quote(given).unquote() is given


def test_a_docstring_tells_of_parameters() -> None:
    described = compat.parameter_docstrings("Do it.\n\nArgs:\n    source: Where from.\n")
    assert described == {"source": "Where from."}


def test_links_lead_to_the_ui() -> None:
    with temporary_settings(updates={PREFECT_UI_URL: "http://here"}):
        link = compat.url_for("flow-run", obj_id="00000000-0000-0000-0000-000000000000")
    assert link == "http://here/runs/flow-run/00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [
        (compat.CronSchedule, {"cron": "0 6 * * *"}),
        (compat.IntervalSchedule, {"interval": 60, "anchor_date": "2020-01-01T00:00:00Z"}),
        (compat.RRuleSchedule, {"rrule": "DTSTART:20200101T000000\nFREQ=DAILY"}),
    ],
)
def test_schedules_are_checked_as_prefect_checks_them(schedule: Any, fields: dict[str, Any]) -> None:
    dumped = schedule.model_validate(fields).model_dump(mode="json")
    assert dumped.items() >= {name: value for name, value in fields.items() if name != "anchor_date"}.items()
    [name] = fields.keys() & {"cron", "interval", "rrule"}
    with pytest.raises(ValueError, match=name):
        schedule.model_validate({**fields, name: "no such"})


def test_the_scheduler_says_when_a_cron_expression_fires() -> None:
    cron = compat.scheduler_schedules().CronSchedule.model_construct(cron="0 6 * * *", timezone="UTC", day_or=True)
    times: Any = compat.run_coro_as_sync(cron.get_dates(3))
    assert [(at.hour, at.minute) for at in times] == [(6, 0)] * 3


def test_only_newer_prefect_pulls_code_for_modules_and_sends_heartbeats() -> None:
    assert compat.pulls_code_for_modules() is NEWER
    assert (compat.heartbeat_setting() is not None) is NEWER


def test_the_heartbeat_can_be_switched_off() -> None:
    if (setting := compat.heartbeat_setting()) is not None:
        with temporary_settings(updates={setting: None}):
            assert get_current_settings().flows.heartbeat_frequency is None


def test_only_the_shell_counts_within_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "7")
    with temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: 1}), compat.settings_of_shell():
        assert get_current_settings().client.max_retries == 7


def test_pending_events_are_waited_for() -> None:
    compat.send_pending_events(timeout=0.1)  # there are none


def test_work_pools_have_a_job_template_by_default() -> None:
    assert compat.default_job_template("process").keys() == {"job_configuration", "variables"}


def test_misfits_are_found_by_path_and_what_is_missing_does_not_count() -> None:
    @flow
    def load(count: Annotated[int, "how many"], missing: str) -> None: ...

    [error] = compat.schema_errors({"count": "many"}, load.parameters.model_dump(mode="json"))
    assert list(error.absolute_path) == ["count"]
    assert error.message


def test_the_tools_for_schemas_are_loaded_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "prefect.utilities.schema_tools", raising=False)
    compat.load_schema_tools()
    assert "prefect.utilities.schema_tools" in sys.modules


def test_errors_of_an_engine_are_told_apart() -> None:
    build, push = compat.engine_errors()
    assert issubclass(build, Exception)
    assert issubclass(push, Exception)
    assert build is not push
