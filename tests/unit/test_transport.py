"""How often and for how long requests are tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from meta_flows.errors import MetaFlowsError
from meta_flows.prefect_api.store import PrefectStore, connected_store

TRIES = 6
"""Of the transport, for each one of Prefect's client."""


class Answers(list[float | None]):
    """What a server answers; holds the timeout of each request."""

    status = 503

    body: Any = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if request.url.path.endswith("csrf-token"):
            return httpx.Response(
                422, json={"detail": "CSRF protection is disabled."}, request=request
            )  # it wants none
        self.append(request.extensions["timeout"]["read"])
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
