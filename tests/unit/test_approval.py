"""The form that asks for approval: what it takes for an answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meta_flows.tasks.approval import Approval


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"decision": "approve", "name": "Ada", "reason": "looked at it"}, "approved by Ada: looked at it"),
        ({"decision": "reject"}, "rejected by an unnamed user"),
        ({"approve": True, "name": "Ada"}, "approved by Ada"),
        ({"approve": False, "reason": "not on a Friday"}, "rejected by an unnamed user: not on a Friday"),
    ],
    ids=["approve", "reject", "approve to an earlier form", "reject to an earlier form"],
)
def test_an_answer_says_who_decided_what_and_why(answer: dict[str, Any], shown: str) -> None:
    assert str(Approval(**answer)) == shown


@pytest.mark.parametrize("answer", [{}, {"name": "Ada"}, {"decision": None}, {"decision": "yes"}])
def test_without_a_decision_there_is_no_answer(answer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Approval(**answer)


def test_the_form_begins_with_a_choice_that_nothing_makes_for_its_reader() -> None:
    schema = Approval.model_json_schema()
    assert list(schema["properties"]) == ["decision", "name", "reason"]
    assert schema["required"] == ["decision"]
    assert schema["properties"]["decision"]["enum"] == ["approve", "reject"]
    assert "default" not in schema["properties"]["decision"]
