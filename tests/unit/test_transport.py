"""How often and for how long requests are tried, and what becomes of answers that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.engine import Store
from meta_flows.models import Change, LiveResource, Ownership, Plan, Release
from meta_flows.prefect_api.store import PrefectStore, connected_store

TRIES = 6
"""Of the transport, for each one of Prefect's client."""


class Answers(list[float | None]):
    """What a server answers; holds the timeout of each request."""

    status = 503

    body: Any = None
    raw: bytes | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if request.url.path.endswith("csrf-token"):
            return httpx.Response(
                422, json={"detail": "CSRF protection is disabled."}, request=request
            )  # it wants none
        self.append(request.extensions["timeout"]["read"])
        if self.raw is not None:
            return httpx.Response(self.status, content=self.raw, headers={"location": "/login"}, request=request)
        return httpx.Response(self.status, json=self.body, request=request)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """A server that is busy for ever, and pauses that take no time."""
    found = Answers()
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", found.answer)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return found


@pytest.fixture
def store(answers: Answers) -> Iterator[PrefectStore]:
    """A store on it."""
    here = {PREFECT_API_URL: "http://server/api", PREFECT_UI_URL: "http://server"}
    with temporary_settings(updates=here), connected_store() as opened:
        yield opened


def refused(store: PrefectStore) -> str:
    with pytest.raises(MetaFlowsError) as caught:
        store.renew("lease", 60)
    return caught.value.errors[0].code


def test_a_brief_request_is_made_once_and_says_nothing_of_the_next_ones(store: PrefectStore, answers: Answers) -> None:
    with store.briefly(15):
        assert refused(store) == "MF401"
    assert answers == [15] * TRIES
    answers.clear()
    answers.status = 204
    assert store.renew("lease", 60)
    assert answers == [60]


def test_after_a_server_was_given_up_on_requests_are_short_until_it_answers(
    store: PrefectStore, answers: Answers
) -> None:
    assert refused(store) == "MF401"
    assert len(answers) == TRIES * 6  # Prefect's client tries again five times
    answers.clear()
    assert refused(store) == "MF401"
    assert answers == [5] * TRIES
    answers.clear()
    answers.status = 204
    assert store.renew("lease", 60)
    assert store.renew("lease", 60)
    assert answers == [5, 60]


SENT = {"name": "load", "job_variables": {"env": {"DB_PASSWORD": "hunter2"}}}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            422,
            {"exception_detail": [{"loc": ["body", "name"], "msg": "too long", "input": SENT}]},
            "HTTP 422 body.name: too long",
        ),
        (422, {"detail": [{"loc": ["body"], "msg": "no: hunter2"}]}, "HTTP 422 body: no: ••••••"),
        (409, {"detail": "Validation failed for {'DB_PASSWORD': 'hunter2'}"}, "failed for {'DB_PASSWORD': '••••••'}"),
    ],
)
def test_a_refusal_is_told_without_the_secrets_of_the_request(
    status: int, body: object, said: str, store: PrefectStore, answers: Answers
) -> None:
    answers.status, answers.body = status, body
    with pytest.raises(MetaFlowsError) as caught:
        store.send("POST", "/deployments/", SENT)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


OURS = Ownership("shop", "development")
LIVE = LiveResource(id="1", flow_name="load", name="load-dev", spec={"tags": [], "schedules": {}})
CHANGE = Change(action="create", flow_name="load", name="load-dev", target={"schedules": {}, "tags": []})
RELEASE = Release(
    id="20260101t000000-abcd",
    project="shop",
    environment="development",
    started=datetime(2026, 1, 1, tzinfo=timezone.utc),
    plan=Plan(project="shop", environment="development"),
)

CALLS: dict[str, Callable[[PrefectStore], object]] = {
    "read": lambda store: store.read({"deployment/load/load-dev", "work_pool/dev-python"}),
    "read_owned": lambda store: store.read_owned(OURS),
    "create": lambda store: store.create(CHANGE),
    "update": lambda store: store.update(LIVE, {"tags": ["a"], "schedules": {}}),
    "delete": lambda store: store.delete(LIVE),
    "remove_unused": lambda store: store.remove_unused(["dev-python"], [("dev-python", "fast")], ["load"]),
    "read_flow_ids": lambda store: store.read_flow_ids(["load"]),
    "read_work_queues": lambda store: store.read_work_queues("dev-python"),
    "read_deployments_in": lambda store: store.read_deployments_in("dev-python"),
    "latest_release": lambda store: store.latest_release(OURS),
    "read_releases": lambda store: store.read_releases(OURS),
    "read_release": lambda store: store.read_release(RELEASE),
    "save_release": lambda store: store.save_release(RELEASE),
    "update_release": lambda store: store.update_release(RELEASE),
    "delete_release": lambda store: store.delete_release(RELEASE),
    "forget_old_releases": lambda store: store.forget_old_releases(OURS),
    "limit": lambda store: store.limit("deploy--shop--development"),
    "find_limit": lambda store: store.find_limit("deploy--shop--development"),
    "delete_limit": lambda store: store.delete_limit("1"),
    "acquire": lambda store: store.acquire("deploy--shop--development", 60),
    "renew": lambda store: store.renew("lease", 60),
    "release": lambda store: store.release("lease"),
    "writers": lambda store: store.writers("writer:shop:development"),
    "tag_run": lambda store: store.tag_run("1", ["a"]),
    "mark_crashed": lambda store: store.mark_crashed("1"),
}
ANSWERS = {
    "a page of something else": (200, b"<html>Welcome to nginx!</html>"),
    "a truncated body": (200, b'[{"id": "1", "name'),
    "JSON of another shape": (200, b'{"detail": "hello"}'),
    "a list of something else": (200, b"[1, null]"),
    "a redirection": (302, b""),
    "a rejected key": (401, b'{"detail": "Unauthorized"}'),
    "nothing of that name": (404, b'{"detail": "Not Found"}'),
    "a server that breaks": (500, b"Internal Server Error"),
}


def test_whatever_a_server_answers_is_an_error_of_ours_or_what_was_asked(store: PrefectStore, answers: Answers) -> None:
    for name, call in CALLS.items():
        for what, (answers.status, answers.raw) in ANSWERS.items():
            answers.clear()
            try:
                with suppress(MetaFlowsError):
                    call(store)
            except Exception as error:
                raise AssertionError(f"{name}, answered by {what}") from error
            assert answers, name


def test_every_call_of_a_store_is_tried() -> None:
    asked = {name for name in vars(Store) if not name.startswith("_")}
    assert asked - {"briefly", "default_job_template"} == CALLS.keys()
