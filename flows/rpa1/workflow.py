"""Sales files: read every CSV file of a folder, sum the sales up, and write one JSON report.

A file has the columns `date, product, region, quantity, unit_price` in any order; further columns are ignored. A row
that does not fit is listed in the report with its file, its line and every reason, so that `read = good + bad`.
"""

import csv
import datetime as dt
import json
import os
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task, unmapped
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, Field, PositiveInt, StringConstraints, ValidationError

Row = dict[str, Any]
"""A row as read: `file`, the `line` where it begins, `values` by column, and `unreadable`, why it is, or None."""


class Sale(BaseModel):
    """One good row; the upper bounds keep every sum of money exact."""

    date: Annotated[dt.date, Field(ge=dt.date(2000, 1, 1))]
    product: Annotated[str, Field(min_length=1)]
    region: Annotated[str, StringConstraints(min_length=1, to_upper=True)]
    quantity: Annotated[int, Field(gt=0, le=1_000_000)]
    unit_price: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]


def find_files(folder: Path) -> list[Path]:
    """The CSV files of a folder, by name."""
    if not folder.is_dir():
        raise ValueError(f"there is no input folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() == ".csv")
    if not files:
        raise ValueError(f"there is no CSV file in input folder {folder}")
    return files


def transform(row: Row) -> dict[str, Any]:
    """The sale that a row stands for, or the row's place and every reason why it is none, under `reasons`."""
    place = {"file": row["file"], "line": row["line"]}
    if row["unreadable"]:
        return {**place, "reasons": [row["unreadable"]]}
    try:
        sale = Sale.model_validate_strings(row["values"])
    except ValidationError as error:
        return {**place, "reasons": [f"{detail['loc'][0]}: {detail['msg']}" for detail in error.errors()]}
    return {
        "month": f"{sale.date:%Y-%m}",
        "product": sale.product,
        "region": sale.region,
        "quantity": sale.quantity,
        "revenue": f"{sale.quantity * sale.unit_price:.2f}",
    }


def totals(sales: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """Quantity and revenue for each value of `key`, sorted by it."""
    quantity: dict[str, int] = defaultdict(int)
    revenue: dict[str, Decimal] = defaultdict(Decimal)
    for sale in sales:
        quantity[sale[key]] += sale["quantity"]
        revenue[sale[key]] += Decimal(sale["revenue"])
    return {value: {"quantity": quantity[value], "revenue": f"{revenue[value]:.2f}"} for value in sorted(quantity)}


def write_json(path: Path, content: Any) -> Path:
    """Replace a file as a whole: whoever reads it meets the old content or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return draft.replace(path)


# Retried, since each of them can only fail on files, perhaps on a share that is back in ten seconds.


@task(task_run_name="read {path.name}", retries=2, retry_delay_seconds=10)
def read_rows(path: Path) -> list[Row]:
    """Every row below the header, the unreadable ones too; blank lines are not rows."""
    rows: list[Row] = []
    header: list[str] = []
    line = 1
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for fields in reader:
                values = [field.strip() for field in fields]
                if not header:
                    header = [name.lower() for name in values]
                elif values:
                    unreadable = None
                    if len(values) != len(header):
                        unreadable = f"{len(values)} fields where the header has {len(header)}"
                    elif "\N{REPLACEMENT CHARACTER}" in "".join(values):
                        unreadable = "not UTF-8"
                    named = dict(zip(header, values))  # noqa: B905 - a row of another length is unreadable
                    rows.append({"file": path.name, "line": line, "values": named, "unreadable": unreadable})
                line = reader.line_num + 1
        except csv.Error as error:
            unreadable = f"not CSV from here to the end of the file: {error}"
            rows.append({"file": path.name, "line": line, "values": {}, "unreadable": unreadable})
    return rows


@task(task_run_name="transform batch {number:04d}", retries=2, retry_delay_seconds=10)
def transform_batch(batch: list[Row], number: int, working: Path) -> Path:
    """Transform a batch of rows into a working file."""
    return write_json(working / f"part-{number:04d}.json", [transform(row) for row in batch])


@task(task_run_name="summarise", retries=2, retry_delay_seconds=10)
def summarise(parts: list[Path]) -> dict[str, Any]:
    """Sum up the working files."""
    rows = [row for part in parts for row in json.loads(part.read_text(encoding="utf-8"))]
    sales = [row for row in rows if "reasons" not in row]
    bad_rows = [row for row in rows if "reasons" in row]
    return {
        "good": len(sales),
        "bad": len(bad_rows),
        "total": f"{sum((Decimal(sale['revenue']) for sale in sales), Decimal()):.2f}",
        **{f"by_{key}": totals(sales, key) for key in ("product", "region", "month")},
        "bad_rows": bad_rows,
    }


@task(task_run_name="write {path.name}", retries=2, retry_delay_seconds=10)
def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write the report."""
    write_json(path, report)


@task(task_run_name="clear {working}", retries=2, retry_delay_seconds=10)
def clear(working: Path) -> None:
    """Remove the working files, and their folder if nobody else put anything there."""
    if working.is_dir():
        for part in working.glob("part-*.json*"):
            part.unlink(missing_ok=True)
        if not any(working.iterdir()):
            working.rmdir()


@flow(name="RPA1ProcessingFlow", task_runner=ThreadPoolTaskRunner(max_workers=4))  # type: ignore[arg-type]
def rpa1_workflow(
    cleanup: bool = True,
    batch_size: PositiveInt = 100,
    input_folder: Path = Path("flows/rpa1/data"),
    output_folder: Path = Path("flows/rpa1/output"),
) -> dict[str, Any]:
    """Sum up sales files by product, region and month.

    Args:
        cleanup: Remove the working files at the end; the report stays.
        batch_size: How many rows one transform task takes. It changes the speed, never the result.
        input_folder: Folder with the CSV files, relative to where the flow runs.
        output_folder: Folder for `report.json`; created if missing.

    Returns:
        The report's counts and total, and where the report is.
    """
    logger = get_run_logger()
    target, working = output_folder / "report.json", output_folder / "working"
    files = find_files(input_folder)
    clear(working)

    rows_by_file = read_rows.map(files).result()
    rows = [row for rows in rows_by_file for row in rows]
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    parts = transform_batch.map(batches, range(1, len(batches) + 1), unmapped(working)).result()
    result = summarise(parts)

    report = {
        "title": os.environ.get("RPA1_REPORT_TITLE", "Sales"),
        "currency": os.environ.get("RPA1_CURRENCY", "EUR"),
        "files": {path.name: len(rows) for path, rows in zip(files, rows_by_file, strict=True)},
        "read": len(rows),
        **result,
    }
    write_report(target, report)
    if cleanup:
        clear(working)

    logger.info("%d rows from %d files: %d good, total %s", len(rows), len(files), report["good"], report["total"])
    if report["bad"]:
        logger.warning("%d bad rows; %s says which and why", report["bad"], target)
    return {key: report[key] for key in ("read", "good", "bad", "total", "currency")} | {"report": str(target)}


if __name__ == "__main__":
    rpa1_workflow()
