"""The SARIF log is one: by the models of an independent package, and by what the standard says beyond them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import BaseModel
from sarif_pydantic import Sarif  # type: ignore[import-untyped]  # it has types, and no py.typed

from meta_flows.diagnostics import catalogue, diagnostic
from meta_flows.diagnostics.sarif import sarif
from meta_flows.models import Diagnostic, Location, ValidationResult
from tests.servers import Command
from tests.trees import build_tree


def finding(code: str = "MF121", path: str | None = "flows/etl/workflow.py", **where: Any) -> Diagnostic:
    """One entry of the catalogue at some place."""
    fields = Formatter().parse(catalogue()[code].message + catalogue()[code].remedy)
    values = {name: spec or "" for _, name, spec, _ in fields if name}
    facts = {name: datetime(2026, 1, 2) if "%" in spec else 3 if spec else "x" for name, spec in values.items()}
    return diagnostic(code, Location(path=path, **where) if path else None, **facts)


def log(*findings: Diagnostic) -> dict[str, Any]:
    """The log of some findings, as it is written, once it has been looked at as a whole."""
    errors = tuple(error for error in findings if error.severity == "error")
    warnings = tuple(error for error in findings if error.severity == "warning")
    written: dict[str, Any] = json.loads(json.dumps(sarif(ValidationResult(errors=errors, warnings=warnings))))
    assert_is_sarif(written)
    return written


def assert_is_sarif(written: dict[str, Any]) -> None:
    """What section 3 of SARIF 2.1.0 asks of all that we write."""
    parsed = Sarif.model_validate(written)
    assert [*_unknown(parsed, "")] == []
    assert parsed.model_dump(mode="json", by_alias=True, exclude_unset=True) == written, "nothing is spelt otherwise"
    assert parsed.version == "2.1.0"
    assert len(parsed.runs) == 1
    run = parsed.runs[0]
    rules = run.tool.driver.rules or []
    assert run.tool.driver.name
    assert run.results is not None, "null would say that nothing was looked at"
    assert len({rule.id for rule in rules}) == len(rules)
    for result in run.results:
        assert result.rule_index is not None
        assert rules[result.rule_index].id == result.rule_id
        assert result.level in ("error", "warning")
        assert result.message.text
        for location in result.locations or ():
            assert location.physical_location
            artifact, region = location.physical_location.artifact_location, location.physical_location.region
            assert artifact and region
            assert artifact.uri_base_id in (run.original_uri_base_ids or {})
            uri = urlsplit(artifact.uri)
            assert not (uri.scheme or uri.netloc or uri.query or uri.fragment), artifact.uri
            assert re.fullmatch(r"([\w.~!$&'()*+,;=@/-]|%[0-9A-F]{2})+", artifact.uri, re.ASCII), artifact.uri
            assert not uri.path.startswith("/") and ".." not in uri.path.split("/")
            assert region.start_line is not None and region.start_line >= 1
            assert region.start_column is None or region.start_column >= 1


def _unknown(model: BaseModel, path: str) -> Iterator[str]:
    """The keys that the models take without knowing them."""
    yield from (f"{path}.{key}" for key in model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        items = value if isinstance(value, list) else [*value.values()] if isinstance(value, dict) else [value]
        for item in items:
            if isinstance(item, BaseModel):
                yield from _unknown(item, f"{path}.{name}")


def test_a_log_of_nothing_says_that_there_is_nothing() -> None:
    run = log()["runs"][0]
    assert run["results"] == []
    assert run["tool"]["driver"]["rules"] == []


@pytest.mark.parametrize("code", catalogue())
def test_each_code_makes_a_log(code: str) -> None:
    [rule] = log(finding(code))["runs"][0]["tool"]["driver"]["rules"]
    assert rule["id"] == code
    assert rule["defaultConfiguration"] == {"level": catalogue()[code].severity}
    assert re.fullmatch(r"[A-Z]\w*", rule["name"], re.ASCII), "an identifier, as the standard wants it"


def test_each_result_points_at_its_own_rule() -> None:
    codes = ["MF623", "MF121", "MF101", "MF121", "MF623", "MF305"]
    run = log(*(finding(code, line=number) for number, code in enumerate(codes, 1)))["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert sorted(rules) == sorted({*codes})
    assert sorted(rules[result["ruleIndex"]] for result in run["results"]) == sorted(codes)


def test_the_level_is_what_the_finding_is_and_not_what_its_rule_usually_is() -> None:
    results = log(finding("MF121"), finding("MF121", line=2).as_warning(), finding("MF623"))["runs"][0]["results"]
    assert [result["level"] for result in results] == ["error", "warning", "warning"]


def test_lines_and_columns_are_those_of_the_finding_and_begin_at_one() -> None:
    results = log(finding(), finding(line=7), finding(line=7, column=3))["runs"][0]["results"]
    regions = [result["locations"][0]["physicalLocation"]["region"] for result in results]
    assert [(each["startLine"], each.get("startColumn", 1)) for each in regions] == [(1, 1), (7, 1), (7, 3)]


def test_what_stands_in_no_file_has_a_location_all_the_same() -> None:
    """GitHub refuses a whole log in which one result has none."""
    [result] = log(finding("MF109", None))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "environments"


@pytest.mark.parametrize(
    "path", ["flows/a b/workflow.py", "flows/é/x.py", "flows/50%/x.py", "flows/a#b.py", "a?b.py", "a:b"]
)
def test_a_path_is_written_as_a_uri(path: str) -> None:
    [result] = log(finding(path=path))["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote(uri).removeprefix("./") == path


def test_a_file_outside_the_repository_is_not_said_to_be_inside() -> None:
    run = sarif(ValidationResult(errors=(finding("MF203", "/etc/environments/development.yaml"),)))["runs"][0]
    artifact = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": "file:///etc/environments/development.yaml"}


BROKEN = {
    "environments/development.yaml": "work_pools: {python: here}\n",
    "requirements.txt": "prefect\n",
    "flows/my etl/workflow.py": "import pandsa\nfrom prefect import flow\n\n@flow\ndef etl(n: int = 'x'): pass\n",
    "flows/my etl/deployment.yaml": "slug: etl\nschedules: [{cron: 0 0 30 2 *}]\n",
    "flows/my etl/.env.example": "A=1\n",
    "flows/other/workflow.py": "def (\n",
}


@pytest.mark.parametrize("words", [(), ("--environment", "development", "--offline")], ids=["flows", "deployments"])
def test_the_command_writes_one(tmp_path: Path, command: Command, words: tuple[str, ...]) -> None:
    build_tree(tmp_path, BROKEN)
    done = command("validate", "--format", "sarif", *words, PREFECT_API_URL="http://127.0.0.1:1/api")
    assert done.returncode == 1, done.stderr
    written = json.loads(done.stdout)
    assert_is_sarif(written)
    results = written["runs"][0]["results"]
    assert {"MF101", "MF116", "MF121"} <= {result["ruleId"] for result in results}
    for result in results:
        for location in result["locations"]:
            assert (tmp_path / unquote(location["physicalLocation"]["artifactLocation"]["uri"])).is_file()


def test_the_command_writes_an_empty_one_where_all_is_right(tmp_path: Path, command: Command) -> None:
    build_tree(tmp_path, {"flows/etl.py": "from prefect import flow\n\n@flow\ndef etl(): pass\n"})
    done = command("validate", "--format", "sarif", PREFECT_API_URL="http://127.0.0.1:1/api")
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(done.stdout)
    assert_is_sarif(written)
    assert written["runs"][0]["results"] == []
