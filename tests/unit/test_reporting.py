"""Messages and reports of a size that can be read."""

from __future__ import annotations

from meta_flows.errors import problem
from meta_flows.reporting import shortened


def test_a_message_as_long_as_a_file_is_cut() -> None:
    message = problem("MF106", path="a.py", detail="x" * 300_000).message
    assert len(message) < 600
    assert message.endswith("... (300027 characters)")


def test_a_line_that_is_too_long_leaves_room_for_the_others() -> None:
    text = shortened(["x" * 100_000, "the plan", *("y" * 100 for _ in range(1000))])
    assert "the plan" in text
    assert len(text.encode()) < 61_000
    assert "more lines" in text
