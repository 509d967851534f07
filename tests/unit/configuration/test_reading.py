"""YAML files as documents."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meta_flows.configuration.reading import load_document
from meta_flows.diagnostics import MetaFlowsError
from tests.budgets import examples
from tests.unit.configuration.conftest import Write, errors_of


def load(write: Write, text: str) -> object:
    return load_document(write({"file.yaml": text}) / "file.yaml", write({})).data


@pytest.mark.parametrize(
    ("text", "data"),
    [
        pytest.param("", {}, id="an empty file is an empty mapping"),
        pytest.param("# nothing\n---\n", {}, id="so is a file of comments"),
        pytest.param("a: {b: [1, x, null, true, 1.5]}", {"a": {"b": [1, "x", None, True, 1.5]}}, id="plain values"),
        pytest.param(
            "a: 2024-01-01\nb: 2024-01-01T05:00:00Z", {"a": "2024-01-01", "b": "2024-01-01T05:00:00Z"}, id="dates"
        ),
        pytest.param("a: 10:30\nb: 1:30:00", {"a": "10:30", "b": "1:30:00"}, id="times are text, not base 60"),
        pytest.param("on: 1\n1: 2\n~: 3", {"on": 1, "1": 2, "~": 3}, id="keys are text as written"),
        pytest.param("a: =", {"a": "="}, id="an equals sign is text"),
        pytest.param(
            "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}, id="merge key"
        ),
        pytest.param(
            "p: &p {a: 1}\nq: &q {a: 2, b: 2}\ny: {<<: [*p, *q], c: 3}",
            {"p": {"a": 1}, "q": {"a": 2, "b": 2}, "y": {"a": 1, "b": 2, "c": 3}},
            id="of several merged mappings the first wins",
        ),
        pytest.param("x: &x [1]\ny: *x", {"x": [1], "y": [1]}, id="alias"),
        pytest.param("\ufeffa: 1", {"a": 1}, id="byte order mark"),
    ],
)
def test_yaml_is_read_as_data_that_json_can_hold(write: Write, text: str, data: object) -> None:
    assert load(write, text) == data


def test_every_key_and_item_knows_its_line_and_column(write: Write) -> None:
    root = write({"conf/file.yaml": "a:\n  b: 1\nc:\n  - d\n  - e: 2\nm: &m {n: 1}\no: {<<: *m}\n"})
    places = {path: str(place) for path, place in load_document(root / "conf/file.yaml", root).places.items()}
    assert places == {
        (): "conf/file.yaml:1",
        ("a",): "conf/file.yaml:1:1",
        ("a", "b"): "conf/file.yaml:2:3",
        ("c",): "conf/file.yaml:3:1",
        ("c", 0): "conf/file.yaml:4:5",
        ("c", 1): "conf/file.yaml:5:5",
        ("c", 1, "e"): "conf/file.yaml:5:5",
        ("m",): "conf/file.yaml:6:1",
        ("m", "n"): "conf/file.yaml:6:8",
        ("o",): "conf/file.yaml:7:1",
        ("o", "n"): "conf/file.yaml:6:8",
    }


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("a: 1\nb: [", [("MF201", 2)], id="syntax error"),
        pytest.param("a: 1\n\tb: 2", [("MF201", 2)], id="tab"),
        pytest.param("a: *x", [("MF201", 1)], id="alias of nothing"),
        pytest.param("a: 1\n---\nb: 2", [("MF201", 2)], id="two documents"),
        pytest.param("ok: 1\na: \x07", [("MF201", 2)], id="control character"),
        pytest.param("- a", [("MF203", 1)], id="a list instead of a mapping"),
        pytest.param("text", [("MF203", 1)], id="text instead of a mapping"),
        pytest.param("!!set {a}", [("MF201", 1)], id="a set instead of a mapping"),
        pytest.param("a: !!python/name:os.system", [("MF201", 1)], id="python object"),
        pytest.param("a: !!binary aGk=", [("MF201", 1)], id="binary"),
        pytest.param("a: !mine x", [("MF201", 1)], id="own tag"),
        pytest.param("a: .nan\nb: -.inf", [("MF201", 1), ("MF201", 2)], id="numbers that JSON lacks"),
        pytest.param("a: !!int x\nb: !!bool x\nc: !!float x", [("MF201", n) for n in (1, 2, 3)], id="tags that lie"),
        pytest.param('a: "\\ud800"\n"\\ud800": 1', [("MF201", 1), ("MF201", 2)], id="half a character"),
        pytest.param("? [a]\n: 1", [("MF201", 1)], id="a list as a key"),
        pytest.param("a: {<<: 1}", [("MF201", 1)], id="merging what is no mapping"),
        pytest.param("a: 1\nb: {c: 1,\n c: 2}\na: 3", [("MF208", 3), ("MF208", 4)], id="duplicate keys, all of them"),
        pytest.param("a: &a [*a]", [("MF201", None)], id="alias that contains itself"),
        pytest.param("a: &a {<<: *a}", [("MF201", None)], id="mapping that merges itself"),
        pytest.param("a: " + "[" * 60 + "]" * 60, [("MF201", None)], id="nested deeper than anyone can read"),
        pytest.param("a: " + "[" * 2000 + "]" * 2000, [("MF201", None)], id="nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(write: Write, text: str, wrong: list[tuple[str, int | None]]) -> None:
    with pytest.raises(MetaFlowsError) as refused:
        load(write, text)
    assert sorted(errors_of(refused), key=str) == sorted([(code, "file.yaml", line) for code, line in wrong], key=str)


@pytest.mark.parametrize("last", ["[*h, *h]", "{<<: [*h, *h]}"])
def test_an_alias_bomb_is_refused_before_it_is_expanded(write: Write, last: str) -> None:
    inner = "[*{0}, *{0}, *{0}, *{0}, *{0}]" if last.startswith("[") else "{{<<: [*{0}, *{0}, *{0}, *{0}, *{0}]}}"
    lines = ["a: &a " + ("[x]" if last.startswith("[") else "{k: x}")]
    lines += [f"{name}: &{name} {inner.format(before)}" for before, name in zip("abcdefg", "bcdefgh", strict=True)]
    with pytest.raises(MetaFlowsError, match="aliases"):
        load(write, "\n".join([*lines, f"z: {last}"]))


def test_a_missing_and_an_unreadable_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: Zürich".encode("latin-1"))
    (tmp_path / "folder.yaml").mkdir()
    codes = {}
    for name in ("missing.yaml", "latin.yaml", "folder.yaml"):
        with pytest.raises(MetaFlowsError) as refused:
            load_document(tmp_path / name, tmp_path)
        assert name in str(refused.value)
        codes[name] = refused.value.errors[0].code
    assert codes == {"missing.yaml": "MF215", "latin.yaml": "MF216", "folder.yaml": "MF216"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_yaml_text = (
    st.text(max_size=60)
    | st.text(alphabet=" \n-:{}[]&*!|>'\"#%@<=,.~?a1\t", max_size=40)
    | _json.map(lambda data: str(yaml.dump(data, allow_unicode=True)))
)


@examples(400)
@given(text=_yaml_text)
def test_no_text_makes_reading_fail_in_any_other_way(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        document = load_document(path, path.parent)
    except MetaFlowsError as refused:
        assert refused.errors
    else:
        assert isinstance(document.data, dict)
