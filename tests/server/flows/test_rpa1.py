"""RPA1ProcessingFlow: sales files."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.rpa1.workflow import clear, find_files, read_rows, rpa1_workflow, totals, transform, write_json

HEADER = "date,product,region,quantity,unit_price\n"
GOOD = "2026-01-05,Lamp,North,3,19.90\n"


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    folder = tmp_path / "sales"
    folder.mkdir()
    return folder


def rows_of(path: Path, content: str | bytes) -> list[dict[str, Any]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [transform(row) for row in read_rows.fn(path)]


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def shipped(checkout: Path, prefect_server: None) -> dict[str, Any]:
    """What a run with all defaults returns."""
    return rpa1_workflow()


def test_the_shipped_files_are_summed_up_and_their_bad_rows_named(checkout: Path, shipped: dict[str, Any]) -> None:
    assert names_in(checkout / "flows/rpa1/output") == ["report.json"]
    report = report_of(checkout / "flows/rpa1/output")
    assert report["files"] == {"sales-2026-01.csv": 14, "sales-2026-02.csv": 15, "sales-2026-03.csv": 14}
    assert (report["read"], report["good"], report["bad"]) == (43, 37, 6)
    assert report["total"] == "48923.88"
    assert shipped == {
        **{key: report[key] for key in ("read", "good", "bad", "total", "currency")},
        "report": "flows/rpa1/output/report.json",
    }
    for key in ("by_product", "by_region", "by_month"):
        assert sum(Decimal(part["revenue"]) for part in report[key].values()) == Decimal(report["total"])
    assert list(report["by_region"]) == ["EAST", "NORTH", "SOUTH", "WEST"]
    assert [
        (row["file"], row["line"], [reason.split(":")[0] for reason in row["reasons"]]) for row in report["bad_rows"]
    ] == [
        ("sales-2026-01.csv", 5, ["quantity"]),
        ("sales-2026-01.csv", 10, ["unit_price"]),
        ("sales-2026-02.csv", 4, ["date"]),
        ("sales-2026-02.csv", 8, ["product"]),
        ("sales-2026-02.csv", 13, ["4 fields where the header has 5"]),
        ("sales-2026-03.csv", 7, ["quantity", "unit_price"]),
    ]


@pytest.mark.usefixtures("shipped")
def test_other_batches_give_the_same_report_and_working_files_are_those_of_the_last_run(checkout: Path) -> None:
    output = checkout / "again"
    write_json(output / "working" / "part-0099.json", ["left by an older run"])

    rpa1_workflow(batch_size=7, cleanup=False, output_folder=output)
    assert (output / "report.json").read_bytes() == (checkout / "flows/rpa1/output/report.json").read_bytes()
    assert names_in(output / "working") == [f"part-000{number}.json" for number in range(1, 8)]


def test_what_the_flow_did_not_make_is_not_cleared(tmp_path: Path) -> None:
    write_json(tmp_path / "part-0001.json", [])
    (tmp_path / "notes.txt").touch()
    clear.fn(tmp_path)
    assert names_in(tmp_path) == ["notes.txt"]


@pytest.mark.usefixtures("prefect_server")
def test_files_without_rows_are_in_the_report_with_none(sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPA1_CURRENCY", "CHF")
    (sales / "empty.csv").write_bytes(b"")
    (sales / "header.csv").write_text(HEADER)

    rpa1_workflow(input_folder=sales, output_folder=sales / "out")
    report = report_of(sales / "out")
    assert report["files"] == {"empty.csv": 0, "header.csv": 0}
    assert (report["read"], report["total"], report["currency"]) == (0, "0.00", "CHF")


@pytest.mark.usefixtures("prefect_server")
def test_a_missing_input_folder_fails_the_run_and_is_named(tmp_path: Path) -> None:
    state = rpa1_workflow(input_folder=tmp_path / "nowhere", output_folder=tmp_path / "out", return_state=True)
    assert state.is_failed()
    assert f"there is no input folder {tmp_path / 'nowhere'}" in str(state.message)
    assert names_in(tmp_path) == []


def test_a_folder_without_csv_files_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no CSV file in input folder {tmp_path}"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("row", "faults"),
    [
        ("2026-02-30,Lamp,North,3,19.90", ["date"]),
        ("0,Lamp,North,3,19.90", ["date"]),
        ("2026-01-05,Lamp,North,0,19.90", ["quantity"]),
        ("2026-01-05,Lamp,North,1.5,19.90", ["quantity"]),
        ("2026-01-05,Lamp,North,3,19.905", ["unit_price"]),
        ("2026-01-05,Lamp,North,3,NaN", ["unit_price"]),
        ("2026-01-05,Lamp,North,3,-1", ["unit_price"]),
        (",,,,", ["date", "product", "region", "quantity", "unit_price"]),
        ("2026-01-05,Lamp,North,3", ["4 fields where the header has 5"]),
        ("2026-01-05,Lamp,North,3,19.90,x", ["6 fields where the header has 5"]),
        ('2026-01-05,"Lamp,North,3,19.90', ["not CSV from here to the end of the file"]),
    ],
)
def test_a_bad_row_is_named_by_line_with_every_reason(tmp_path: Path, row: str, faults: list[str]) -> None:
    good, bad = rows_of(tmp_path / "a.csv", f"{HEADER}{GOOD}\n{row}\n")
    assert "reasons" not in good
    assert (bad["file"], bad["line"], [reason.split(":")[0] for reason in bad["reasons"]]) == ("a.csv", 4, faults)


def test_a_row_that_is_not_utf8_is_bad_and_its_neighbours_are_good(tmp_path: Path) -> None:
    latin = "2026-01-05,Café,North,3,19.90\n".encode("latin-1")
    rows = rows_of(tmp_path / "a.csv", (HEADER + GOOD).encode() + latin + GOOD.encode())
    assert [row.get("reasons") for row in rows] == [None, ["not UTF-8"], None]


def test_a_missing_column_makes_every_row_bad(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", "date,product,region,quantity\n" + "2026-01-05,Lamp,North,3\n" * 2)
    assert [row["reasons"] for row in rows] == [["unit_price: Field required"]] * 2


def test_byte_order_mark_column_order_case_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    plain = rows_of(tmp_path / "a.csv", HEADER + GOOD)
    other = "\ufeffUNIT_PRICE, Clerk,Quantity,region,Product,date\r\n19.90,x,3, north ,Lamp,2026-01-05\r\n"
    assert rows_of(tmp_path / "b.csv", other) == plain


def test_a_line_is_where_the_row_begins(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", HEADER + '2026-01-05,"Lamp\nlarge",North,0,19.90\nbad,Lamp,North,3,19.90\n')
    assert [row["line"] for row in rows] == [2, 4]


def test_only_csv_files_are_input_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.csv", "a.CSV", "c.txt"):
        (tmp_path / name).write_text(HEADER)
    (tmp_path / "d.csv").mkdir()
    assert [path.name for path in find_files(tmp_path)] == ["a.CSV", "b.csv"]


def test_a_reader_of_the_old_report_is_not_disturbed_by_the_new_one(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", ["old"])
    with (tmp_path / "report.json").open() as reader:
        write_json(tmp_path / "report.json", ["new"])
        assert json.load(reader) == ["old"]
    assert names_in(tmp_path) == ["report.json"]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(rows=st.lists(st.lists(text, min_size=2, max_size=7), max_size=12))
def test_every_row_written_is_read_and_judged(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "property.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER.strip().split(","), *rows])
    judged = [transform(row) for row in read_rows.fn(path)]
    assert len(judged) == len(rows)
    assert all(("reasons" in row) != ("revenue" in row) for row in judged)


@given(content=st.binary(max_size=200))
def test_no_content_at_all_breaks_reading(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    rows = rows_of(tmp_path_factory.getbasetemp() / "property.csv", HEADER.encode() + content)
    assert all(row.get("reasons", True) for row in rows)
    assert bool(rows) == bool(content.strip(b"\r\n"))


@given(
    sales=st.lists(
        st.tuples(st.sampled_from("ABC"), st.integers(1, 1_000_000), st.integers(0, 10**12 - 1)), max_size=30
    )
)
def test_money_is_exact_to_the_cent(sales: list[tuple[str, int, int]]) -> None:
    values = [
        {
            "date": "2026-01-05",
            "product": product,
            "region": "N",
            "quantity": f"{quantity}",
            "unit_price": f"{cents // 100}.{cents % 100:02d}",
        }
        for product, quantity, cents in sales
    ]
    rows = [transform({"file": "a.csv", "line": 2, "values": value, "unreadable": None}) for value in values]
    for product, sums in totals(rows, "product").items():
        expected = sum(quantity * cents for name, quantity, cents in sales if name == product)
        assert int(Decimal(sums["revenue"]) * 100) == expected
