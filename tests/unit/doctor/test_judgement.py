"""What doctor makes of plain facts."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from meta_flows.doctor.machine import judge_packages, judge_space
from meta_flows.doctor.server import judge_clock, judge_proxy, judge_version, judge_work_pool
from meta_flows.models import Diagnostic

GOOD = {"python": "3.12.1", "prefect": "3.8.8", "fastapi": "0.150.0", "sqlalchemy": "2.0.44"}
WANTED = ["python>=3.10", "prefect>=3.8.8,<3.9", "fastapi<0.151", "fastapi>=0.139", "sqlalchemy>=2.0,<2.1"]


def judged(said: str | Diagnostic) -> str:
    return "ok" if isinstance(said, str) else f"{said.severity} {said.code}"


@pytest.mark.parametrize(
    ("installed", "named"),
    [
        ({}, []),
        (
            {"fastapi": "0.152.1"},
            ["fastapi <0.151 is required, but 0.152.1 is installed: with it a Prefect server refuses"],
        ),
        (
            {"fastapi": "0.155.0"},
            ["fastapi <0.151 is required, but 0.155.0 is installed: with it a Prefect server dies"],
        ),
        ({"fastapi": "0.155.0rc1"}, ["fastapi <0.151 is required, but 0.155.0rc1 is installed"]),
        (
            {"sqlalchemy": "2.1.0"},
            ["sqlalchemy <2.1,>=2.0 is required, but 2.1.0 is installed: with it a Prefect server never"],
        ),
        ({"fastapi": "0.120.0"}, ["fastapi >=0.139 is required, but 0.120.0 is installed"]),
        (
            {"prefect": "3.9.0", "python": "3.9.18"},
            ["python >=3.10 is required, but 3.9.18", "prefect <3.9,>=3.8.8 is required, but 3.9.0"],
        ),
    ],
)
def test_a_package_that_does_not_work_is_named_with_what_it_breaks(installed: dict[str, str], named: list[str]) -> None:
    said = list(judge_packages(map(Requirement, WANTED), GOOD | installed))
    wrong = [item.message for item in said if isinstance(item, Diagnostic)]
    assert [message[: len(part)] for message, part in zip(wrong, named, strict=True)] == named
    assert bool(wrong) != any(isinstance(item, str) for item in said)


@pytest.mark.parametrize(
    ("fastapi", "named"),
    [
        ("0.131.0", []),
        ("0.132.0", ["fastapi <0.132 is required, but 0.132.0 is installed: with it a Prefect server refuses"]),
    ],
)
def test_prefect_3_4_needs_an_older_fastapi_than_its_metadata_says(fastapi: str, named: list[str]) -> None:
    wanted = ["prefect>=3.4.14,<3.9", "fastapi<0.151", "fastapi>=0.111"]
    said = judge_packages(map(Requirement, wanted), GOOD | {"prefect": "3.4.14", "fastapi": fastapi})
    wrong = [item.message for item in said if isinstance(item, Diagnostic)]
    assert [message[: len(part)] for message, part in zip(wrong, named, strict=True)] == named


def test_a_missing_package_is_named_and_one_for_others_only_is_not() -> None:
    wanted = ["cyclopts>=4", "tomli>=2; python_version < '3.0'", "prefect-redis; extra == 'stack'"]
    [missing] = judge_packages(map(Requirement, wanted), GOOD)
    assert isinstance(missing, Diagnostic)
    assert missing.message == "cyclopts >=4 is required, but none is installed"


@pytest.mark.parametrize(
    ("ahead", "judgement"),
    [
        (0.9, "ok"),
        (-1.9, "ok"),
        (3, "warning MF804"),
        (-24, "warning MF804"),
        (26, "error MF804"),
        (-3600, "error MF804"),
    ],
)
def test_clocks_may_differ_by_little(ahead: float, judgement: str) -> None:
    assert judged(judge_clock(ahead)) == judgement


@pytest.mark.parametrize(
    ("server", "judgement"),
    [("3.8.8", "ok"), ("3.8.12", "ok"), ("3.9.0", "warning MF803"), ("3.10.1.dev3", "warning MF803")],
)
def test_a_newer_minor_version_of_the_server_is_a_warning(server: str, judgement: str) -> None:
    assert judged(judge_version("http://x/api", server, "3.8.8")) == judgement


@pytest.mark.parametrize(("free", "judgement"), [(80, "ok"), (4.9, "warning MF809"), (0.4, "error MF809")])
def test_a_disk_is_told_of_before_it_is_full(free: float, judgement: str) -> None:
    assert judged(judge_space(Path("/var"), free)) == judgement


@pytest.mark.parametrize(
    ("direct", "through", "judgement"),
    [(True, True, "ok"), (False, False, "ok"), (True, False, "error MF805"), (False, True, "error MF805")],
)
def test_a_proxy_does_harm_where_the_server_answers_one_way_only(direct: bool, through: bool, judgement: str) -> None:
    assert judged(judge_proxy("http://h/api", "http://p", direct=direct, through=through)) == judgement


@pytest.mark.parametrize(
    ("live", "judgement"),
    [
        (None, "warning MF410"),
        ({"type": "process", "is_paused": False}, "ok"),
        ({"type": "process", "is_paused": True}, "warning MF411"),
        ({"type": "docker", "is_paused": True}, "error MF407"),
    ],
)
def test_a_pool_of_another_type_is_a_failure_and_a_missing_or_paused_one_a_warning(
    live: dict[str, object] | None, judgement: str
) -> None:
    assert judged(judge_work_pool("staging", "pool", "process", live)) == judgement
