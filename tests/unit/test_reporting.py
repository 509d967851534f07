"""Messages and reports of a size that can be read, which show what is in them and obey none of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from meta_flows.cli.output import print_json
from meta_flows.cli.runner import show
from meta_flows.diagnostics import diagnostic
from meta_flows.models import DeployResult, FieldChange, Outcome
from meta_flows.reporting import escaped, field_in_words, markdown, question, shortened


def test_a_message_as_long_as_a_file_is_cut() -> None:
    message = diagnostic("MF106", path="a.py", detail="x" * 300_000).message
    assert len(message) < 600
    assert message.endswith("... (300027 characters)")


def test_a_line_that_is_too_long_leaves_room_for_the_others() -> None:
    text = shortened(["x" * 100_000, "the plan", *("y" * 100 for _ in range(1000))])
    assert "the plan" in text
    assert len(text.encode()) < 61_000
    assert "more lines" in text


HOSTILE = "x<img src=y onerror=z>[click](http://evil)|cell\u202egnp.exe\x1b[2J\n# heading"


def result(**stated: Any) -> DeployResult:
    row = Outcome(flow_name=HOSTILE, name=HOSTILE, kind="python", state="ToUpdate", reason=HOSTILE)
    change = FieldChange(path="description", old="`<b>", new=HOSTILE)
    row = row.model_copy(update={"fields": (change,)})
    return DeployResult(
        environment="development",
        state="Planned",
        message=HOSTILE,
        outcomes=(row, row.model_copy(update={"name": "other"})),
        refused=(diagnostic("MF901", detail=HOSTILE),),
        notes=(HOSTILE,),
        **stated,
    )


@pytest.mark.parametrize("report", [markdown, question])
def test_a_report_shows_what_names_and_texts_hold_and_obeys_none_of_it(report: Callable[[DeployResult], str]) -> None:
    text = report(result())
    outside_of_code = re.sub(r"```mermaid.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    assert "<img" not in outside_of_code
    assert "[click](" not in outside_of_code.replace(r"\[click\](", "")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\n# heading" not in text
    assert "&lt;img" in outside_of_code


def planned(fields: int = 5, **states: int) -> DeployResult:
    """A plan of so many deployments in each state, each with some changed fields."""
    changed = tuple(FieldChange(path=f"parameters.{number}", old=1, new="x" * 500) for number in range(fields))
    rows = [
        Outcome(flow_name="f", name=f"{state}-{number:03}", kind="python", state=state, fields=changed)
        for state, count in states.items()
        for number in range(count)
    ]
    return DeployResult(environment="staging", state="Planned", message="counts", outcomes=tuple(rows))


def test_the_question_about_300_changes_is_short_and_leads_to_all_of_them() -> None:
    text = question(planned(ToCreate=200, ToUpdate=98, ToDelete=2, Unchanged=50), "http://server/plan")
    lines = text.splitlines()
    assert lines[0] == "**staging: counts**"
    assert len(lines) == 12
    assert max(map(len, lines)) < 300
    assert [line.split("**")[1] for line in lines[2:5]] == ["ToDelete-000", "ToDelete-001", "ToUpdate-000"]
    assert lines[-1] == "... and 292 more: see [the full plan](http://server/plan)."


def test_the_question_begins_with_deletions_and_ends_with_what_is_not_deployed() -> None:
    plan = planned(fields=0, ToCreate=1, ToUpdate=1, ToDelete=1, Unchanged=1)
    plan = plan.model_copy(update={"refused": (diagnostic("MF901", detail="x"),), "notes": ("a note",)})
    titles = [line for line in question(plan).splitlines() if line.startswith("- ")]
    assert titles[:3] == [
        "- to delete: **ToDelete-000**",
        "- to update: **ToUpdate-000**",
        "- to create: **ToCreate-000**",
    ]
    assert [title.partition(":")[0] for title in titles[3:]] == ["- not deployed", "- a note"]


def test_the_question_about_a_few_changes_shows_all_of_them() -> None:
    text = question(planned(fields=3, ToUpdate=3), "http://server/plan")
    assert text.count("to update") == 3
    assert text.count("; and 1 more") == 3  # fields of each
    assert text.endswith("\nSee [the full plan](http://server/plan).")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (["project:a", "eu"], ["project:a", "us"], "tags: +us -eu"),
        (["project:a"], ["project:a", "us", "eu"], "tags: +us +eu"),
        (["a", "b"], ["b", "a"], 'tags.0: "a" → "b", tags.1: "b" → "a"'),
        (None, ["a"], 'tags: null → ["a"]'),
    ],
)
def test_what_comes_and_goes_in_a_list_of_texts_is_named(old: list[str] | None, new: list[str], words: str) -> None:
    assert field_in_words(FieldChange(path="tags", old=old, new=new)) == words


def test_code_in_a_message_stays_code_unless_a_backtick_is_missing() -> None:
    assert escaped("run `a <b> [c]` now <d>") == "run `a <b> [c]` now &lt;d&gt;"
    assert escaped("`<script>") == r"\`&lt;script&gt;"


def test_a_terminal_is_told_nothing_by_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show(result())
    print_json(result())
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert r"\u202e" in printed.out
    assert json.loads(printed.out[printed.out.index("{\n") :])["message"] == HOSTILE
