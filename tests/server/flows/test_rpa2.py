"""RPA2ProcessingFlow: user records."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.artifacts import Artifact

from flows.rpa2.workflow import check, find_files, markdown, read_records, rpa2_workflow, sort_out

RULES = {"minimum_age": 18, "countries": ["DE", "FR"]}
HEADER = "name,email,age,country,signup_date\n"
GOOD = {"name": "Ida", "email": "ida@example.com", "age": "30", "country": "DE", "signup_date": "2024-02-29"}


def checked(**changes: str) -> dict[str, Any]:
    """What is made of a good record with some other values; an empty one is left out, as the reader does."""
    values = {name: value for name, value in {**GOOD, **changes}.items() if value}
    return check({"file": "a.csv", "line": 2, "values": values, "unreadable": None}, RULES)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def shipped(checkout: Path, prefect_server: None) -> dict[str, Any]:
    """What a run with all defaults returns."""
    return rpa2_workflow()


def test_the_shipped_files_are_sorted_out_with_every_reason_and_no_rejected_value(
    checkout: Path, shipped: dict[str, Any]
) -> None:
    output = checkout / "flows/rpa2/output"
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    counts = {"read": 28, "valid": 15, "invalid": 11, "duplicate": 2}
    assert shipped == {**counts, "report": "flows/rpa2/output/report.json"}
    assert report.items() >= counts.items()
    assert report["files"] == {"users-crm.csv": 16, "users-webshop.csv": 12}
    assert [(row["file"][6:-4], row["line"], row["status"], row["reasons"]) for row in report["rejected"]] == [
        ("crm", 5, "invalid", ["email: not an email address"]),
        ("crm", 7, "invalid", ["age: Field required"]),
        ("crm", 10, "duplicate", ["email: same as in users-crm.csv, line 2"]),
        ("crm", 11, "invalid", ["age: below the minimum age of 18"]),
        ("crm", 12, "invalid", ["country: not a country that we serve"]),
        ("crm", 14, "invalid", ["signup_date: Input should be a valid date or datetime, invalid character in year"]),
        ("crm", 15, "invalid", ["name: Field required"]),
        ("crm", 16, "invalid", ["4 fields where the header has 5"]),
        ("webshop", 5, "invalid", ["age: Input should be less than or equal to 130"]),
        ("webshop", 6, "invalid", ["age: below the minimum age of 18"]),
        ("webshop", 7, "invalid", ["signup_date: in the future"]),
        ("webshop", 8, "duplicate", ["email: same as in users-crm.csv, line 8"]),
        (
            "webshop",
            10,
            "invalid",
            [
                "email: not an email address",
                "age: Input should be a valid integer, unable to parse string as an integer",
                "country: String should have at most 2 characters",
            ],
        ),
    ]
    assert names_in(output) == ["report.json", "valid.csv"]

    assert getattr(Artifact.get("rpa2-validation"), "data", None) == markdown(report)
    assert "| 28 | 15 | 11 | 2 |" in markdown(report)
    for rejected_value in ("Uwe", "2099-01-01", "moreau", "forty", "not an address", "greta"):
        assert rejected_value not in (output / "report.json").read_text(encoding="utf-8") + markdown(report)


@pytest.mark.usefixtures("shipped")
def test_other_batches_give_the_same_results_and_without_cleanup_the_working_files_stay(checkout: Path) -> None:
    first, again = checkout / "flows/rpa2/output", checkout / "again"
    rpa2_workflow(batch_size=3, cleanup=False, output_folder=again)
    for name in ("report.json", "valid.csv"):
        assert (again / name).read_bytes() == (first / name).read_bytes()
    assert names_in(again / "working") == [f"part-{number:04d}.json" for number in range(1, 11)]


@pytest.mark.usefixtures("shipped")
def test_what_was_found_valid_is_valid(checkout: Path) -> None:
    rules = {"minimum_age": 18, "countries": ["AT", "BE", "CH", "DE", "DK", "ES", "FR", "IT", "NL", "PL", "SE"]}
    found = [check(record, rules) for record in read_records.fn(checkout / "flows/rpa2/output/valid.csv")]
    users, rejected = sort_out(found)
    assert [len(users), rejected] == [15, []]


@pytest.mark.usefixtures("prefect_server")
def test_the_environment_sets_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPA2_MINIMUM_AGE", "31")
    monkeypatch.setenv("RPA2_COUNTRIES", "fr IT")
    french = GOOD | {"age": "31", "country": "FR", "email": "eve@example.com"}
    (tmp_path / "a.csv").write_text("\n".join([HEADER.strip(), ",".join(GOOD.values()), ",".join(french.values())]))
    (tmp_path / "empty.csv").touch()

    rpa2_workflow(input_folder=tmp_path, output_folder=tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))
    (rejected,) = report["rejected"]
    assert rejected["reasons"] == [
        "age: below the minimum age of 31",
        "country: not a country that we serve",
    ]
    assert report["files"] == {"a.csv": 2, "empty.csv": 0}


@pytest.mark.usefixtures("prefect_server")
def test_an_input_folder_that_is_missing_or_the_output_folder_too_fails_the_run(tmp_path: Path) -> None:
    state = rpa2_workflow(input_folder=tmp_path / "nowhere", output_folder=tmp_path, return_state=True)
    assert state.is_failed()
    assert f"there is no input folder {tmp_path / 'nowhere'}" in str(state.message)
    state = rpa2_workflow(input_folder=tmp_path, output_folder=tmp_path / "x" / "..", return_state=True)
    assert state.is_failed()
    assert "is the input folder too" in str(state.message)
    assert names_in(tmp_path) == []


def test_a_folder_without_csv_files_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no CSV file in input folder {tmp_path}"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"email": "IDA@Example.com", "country": "de", "age": "18"}, []),
        ({"signup_date": dt.date.today().isoformat()}, []),
        ({"email": "ida@example"}, ["email"]),
        ({"email": "ida@@example.com"}, ["email"]),
        ({"email": "ida smith@example.com"}, ["email"]),
        ({"age": "17"}, ["age"]),
        ({"age": "131"}, ["age"]),
        ({"country": "IT"}, ["country"]),
        ({"signup_date": "2023-02-29"}, ["signup_date"]),
        ({"signup_date": "1999-12-31"}, ["signup_date"]),
        ({"signup_date": (dt.date.today() + dt.timedelta(days=2)).isoformat()}, ["signup_date"]),
        ({"name": "", "email": "ida", "age": "-1", "country": "Italy"}, ["name", "email", "age", "country"]),
        (dict.fromkeys(GOOD, ""), list(GOOD)),
    ],
)
def test_every_fault_of_a_record_is_a_reason(changes: dict[str, str], faults: list[str]) -> None:
    record = checked(**changes)
    assert [reason.split(":")[0] for reason in record["reasons"]] == faults
    assert (record["user"] is None) == bool(faults)


def test_an_invalid_record_is_told_that_it_is_a_duplicate_too() -> None:
    records = [checked(), {**checked(email="IDA@example.com", age="7"), "line": 3}]
    _, (rejected,) = sort_out(records)
    assert rejected == {
        "file": "a.csv",
        "line": 3,
        "status": "invalid",
        "reasons": ["age: below the minimum age of 18", "email: same as in a.csv, line 2"],
    }


def test_an_invalid_record_does_not_make_a_later_one_a_duplicate() -> None:
    users, rejected = sort_out([checked(age="7"), checked()])
    assert [len(users), [record["status"] for record in rejected]] == [1, ["invalid"]]


@given(st.lists(st.tuples(st.sampled_from(["a@x.de", "A@x.de", "b@x.de", "c"]), st.sampled_from(["30", "7", ""]))))
def test_each_record_is_kept_or_rejected_and_no_address_is_kept_twice(fields: list[tuple[str, str]]) -> None:
    records = [{**checked(email=email, age=age), "line": line} for line, (email, age) in enumerate(fields, start=2)]
    users, rejected = sort_out(records)
    assert len(users) + len(rejected) == len(records)
    assert all(record["reasons"] for record in rejected)
    emails = [user["email"] for user in users]
    assert emails == sorted({email.lower() for email, age in fields if age == "30" and email != "c"})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (HEADER.encode(), []),
        (b"\xef\xbb\xbf EMAIL ,Name\r\n\r\n a@x.de , Ida\r\n", [(3, {"email": "a@x.de", "name": "Ida"}, None)]),
        (b"name,email\nIda,\n", [(2, {"name": "Ida"}, None)]),
        (b"name,email\nIda\n", [(2, {"name": "Ida"}, "1 fields where the header has 2")]),
        (b"name,email\nIn\xeas,a@x.de\n", [(2, {"name": "In\ufffds", "email": "a@x.de"}, "not UTF-8")]),
        (
            b'name,email\n"I\nda",a\nb,c\n',
            [(2, {"name": "I\nda", "email": "a"}, None), (4, {"name": "b", "email": "c"}, None)],
        ),
        (b'name,email\n"Ida,a\nb,c\n', [(2, {}, "not CSV from here to the end of the file: unexpected end of data")]),
    ],
)
def test_a_file_is_read_row_by_row(tmp_path: Path, content: bytes, expected: list[tuple[int, Any, str | None]]) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    records = read_records.fn(tmp_path / "a.csv")
    assert [(record["line"], record["values"], record["unreadable"]) for record in records] == expected
