"""Layers of data with places."""

from __future__ import annotations

from typing import Any

import pytest

from meta_flows.configuration.documents import Document, merge


@pytest.mark.parametrize(
    ("layers", "merged"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}, id="keys come together"),
        pytest.param([{"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}], {"a": {"b": 1, "c": 3}}, id="mappings merge by key"),
        pytest.param([{"a": [1, 2]}, {"a": [3]}], {"a": [3]}, id="lists are replaced"),
        pytest.param([{"a": {"b": 1}}, {"a": None}], {"a": None}, id="nothing replaces a mapping"),
        pytest.param([{"a": "x"}, {"a": {"b": 1}}, {"a": {"c": 2}}], {"a": {"b": 1, "c": 2}}, id="three layers"),
        pytest.param(
            [{"s": {"type": "git", "repository": "r"}}, {"s": {"type": "local"}}],
            {"s": {"type": "local"}},
            id="a mapping of another type replaces",
        ),
        pytest.param(
            [{"s": {"type": "git", "repository": "r"}}, {"s": {"branch": "b"}}, {"s": {"type": "git"}}],
            {"s": {"type": "git", "repository": "r", "branch": "b"}},
            id="one of the same type merges",
        ),
        pytest.param(
            [{"p": {"name": "n"}}, {"p": {"type": "t"}}], {"p": {"name": "n", "type": "t"}}, id="a first type merges"
        ),
    ],
)
def test_the_later_layer_wins(layers: list[dict[str, Any]], merged: dict[str, Any]) -> None:
    documents = [Document.from_data(data, f"layer {number}") for number, data in enumerate(layers)]
    assert merge(*documents).data == merged
    assert [document.data for document in documents] == layers


def test_places_follow_the_winner() -> None:
    lower = Document.from_data({"a": {"b": 1, "c": 2}, "l": [{"x": 1}, 2]}, "lower")
    upper = Document.from_data({"a": {"c": 3}, "l": [4]}, "upper")
    assert {path: str(place) for path, place in merge(lower, upper).places.items()} == {
        ("a",): "upper",
        ("a", "b"): "lower",
        ("a", "c"): "upper",
        ("l",): "upper",
        ("l", 0): "upper",
    }


def test_a_section_can_be_taken_out_and_put_elsewhere() -> None:
    document = Document.from_data({"a": {"b": {"c": 1}}, "d": 2}, "file")
    moved = document.section("a", "b").under("x", "y")
    assert moved.data == {"x": {"y": {"c": 1}}}
    assert {path: str(place) for path, place in moved.places.items()} == {("x", "y"): "file", ("x", "y", "c"): "file"}
    assert document.section("d").data == document.section("none", "such").data == {}
    assert document.without("a").data == document.only(["d", "e"]).data == {"d": 2}
    assert set(document.without("a").places) == {("d",)}


def test_the_place_of_what_stands_nowhere_is_that_of_what_is_around_it() -> None:
    document = Document.from_data({"a": {"b": 1}}, "file")
    assert str(document.place(("a", "x", "y"))) == "file"
    assert document.place(("x",)) is None
