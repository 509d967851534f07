"""Records that earlier versions wrote are read, and undone as they would have undone them."""

from __future__ import annotations

from typing import Any

from meta_flows.models import LiveResource, Release
from meta_flows.planning import history

LIVE = {
    "id": "1",
    "flow_name": "a",
    "name": "a-dev",
    "spec": {"description": "old", "tags": []},
    "schedule_ids": {"daily": "7"},
}
RECORD: dict[str, Any] = {
    "id": "20260101t000000-abcd",
    "project": "shop",
    "environment": "dev",
    "started": "2026-01-01T00:00:00Z",
    "plan": {
        "project": "shop",
        "environment": "dev",
        "work_pools": [
            {"name": "made", "type": "process", "action": "create"},
            {"name": "changed", "type": "process", "action": "update", "fields": [{"path": "description"}]},
        ],
        "changes": [{"action": "update", "flow_name": "a", "name": "a-dev", "kind": "python"}],
    },
    "deployments": {"a/a-dev": {"flow_name": "a", "name": "a-dev", "kind": "python", "spec": {"description": "new"}}},
    "previous": {"a/a-dev": None},
    "preimages": {"a/a-dev": LIVE},
    "work_pools": {"made": {"type": "process"}, "changed": {"type": "process", "description": "new"}},
    "previous_work_pools": {"changed": {"type": "process"}},
    "work_pool_preimages": {"changed": {"type": "process", "description": None, "concurrency_limit": 1}},
    "failures": {"a/a-dev": "why", "changed": "why, too"},
}


def test_a_record_of_an_earlier_version_is_read_and_written_in_todays_shape() -> None:
    release = Release.model_validate(RECORD)
    assert Release.model_validate_json(release.model_dump_json()) == release
    assert [change.address for change in release.plan.changes] == [
        "work_pool/made",
        "work_pool/changed",
        "deployment/a/a-dev",
    ]
    assert {*release.resources} == {"deployment/a/a-dev", "work_pool/made", "work_pool/changed"}
    assert release.previous["work_pool/made"] is None
    assert {at: image is None for at, image in release.preimages.items()} == {
        "deployment/a/a-dev": False,
        "work_pool/made": True,
        "work_pool/changed": False,
    }
    assert {*release.failures} == {"deployment/a/a-dev", "work_pool/changed"}
    image = release.preimages["deployment/a/a-dev"]
    assert image
    assert image.part_ids == {"daily": "7"}


def test_everything_that_it_touched_becomes_what_it_was_since_it_does_not_say_what_it_wrote() -> None:
    release = Release.model_validate(RECORD)
    owner = ["project:shop", "environment:dev"]
    live = LiveResource(
        id="1", flow_name="a", name="a-dev", spec={"description": "new", "tags": owner, "schedules": {}}
    )
    image = release.preimages["deployment/a/a-dev"]
    assert image
    spec = {**image.spec, "tags": owner, "schedules": {}}
    release = release.model_copy(
        update={"preimages": {live.address: image.model_copy(update={"spec": spec, "part_ids": {}})}}
    )
    (change,) = history.undo_plan(release, {live.address: live})[0].changes
    assert (change.action, change.target["description"]) == ("update", "old")
