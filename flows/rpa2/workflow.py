"""User records: check every record of a folder's CSV files, keep the valid ones, report the others.

A file has the columns `name, email, age, country, signup_date` in any order; further columns are ignored. Each record
is valid, invalid (with every reason) or a duplicate of a valid one, so that `read = valid + invalid + duplicate`. A
rejected record is personal data as well: reports and logs name its file, line and fields, never its values.
"""

import csv
import datetime as dt
import io
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task, unmapped
from prefect.artifacts import create_markdown_artifact
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, Field, PositiveInt, StringConstraints, ValidationError, ValidationInfo, field_validator

Record = dict[str, Any]
"""A record with its `file` and the `line` where it begins; each step adds what it finds."""


class User(BaseModel):
    """One valid record; the rules that the environment sets are its validation context."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    email: Annotated[str, StringConstraints(to_lower=True, max_length=254)]
    age: Annotated[int, Field(ge=0, le=130)]
    country: Annotated[str, StringConstraints(to_upper=True, max_length=2)]
    signup_date: Annotated[dt.date, Field(ge=dt.date(2000, 1, 1))]

    @field_validator("email", "age", "country", "signup_date")
    @classmethod
    def _follows_the_rules(cls, value: Any, info: ValidationInfo) -> Any:
        rules: dict[str, Any] = info.context or {}
        if info.field_name == "email" and not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", value):
            raise ValueError("not an email address")
        if info.field_name == "age" and value < rules["minimum_age"]:
            raise ValueError(f"below the minimum age of {rules['minimum_age']}")
        if info.field_name == "country" and value not in rules["countries"]:
            raise ValueError("not a country that we serve")
        if info.field_name == "signup_date" and value > dt.date.today():
            raise ValueError("in the future")
        return value


def find_files(folder: Path) -> list[Path]:
    """The CSV files of a folder, by name."""
    if not folder.is_dir():
        raise ValueError(f"there is no input folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() == ".csv")
    if not files:
        raise ValueError(f"there is no CSV file in input folder {folder}")
    return files


def check(record: Record, rules: dict[str, Any]) -> Record:
    """The record with its `user`, or with every reason why there is none."""
    if record["unreadable"]:
        return {**record, "user": None, "reasons": [record["unreadable"]]}
    try:
        user = User.model_validate_strings(record["values"], context=rules)
    except ValidationError as error:
        reasons = [f"{detail['loc'][0]}: {detail['msg'].removeprefix('Value error, ')}" for detail in error.errors()]
        return {**record, "user": None, "reasons": reasons}
    return {**record, "user": user.model_dump(mode="json"), "reasons": []}


def sort_out(records: list[Record]) -> tuple[list[Record], list[Record]]:
    """The valid users by email, and what was rejected; of several with one email the first valid one is kept."""
    kept: dict[str, Record] = {}
    rejected = []
    for record in records:
        email = record["values"].get("email", "").lower()
        if record["user"] and email not in kept:
            kept[email] = record
            continue
        reasons = list(record["reasons"])
        if email in kept:
            reasons.append(f"email: same as in {kept[email]['file']}, line {kept[email]['line']}")
        status = "duplicate" if record["user"] else "invalid"
        rejected.append({"file": record["file"], "line": record["line"], "status": status, "reasons": reasons})
    return [kept[email]["user"] for email in sorted(kept)], rejected


def markdown(report: dict[str, Any]) -> str:
    """The report as a page for the Prefect UI: the numbers, and what is wrong most often."""
    counts = Counter(reason.split(": same as in ")[0] for record in report["rejected"] for reason in record["reasons"])
    lines = ["| read | valid | invalid | duplicate |", "| ---: | ---: | ---: | ---: |"]
    lines.append("| {read} | {valid} | {invalid} | {duplicate} |".format(**report))
    lines += ["", "| what is wrong | records |", "| --- | ---: |"]
    lines += [f"| {reason} | {count} |" for reason, count in counts.most_common()]
    return "\n".join(lines)


def write_text(path: Path, text: str) -> Path:
    """Replace a file as a whole: whoever reads it meets the old content or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    return draft.replace(path)


# Retried, since each of them can only fail on files, perhaps on a share that is back in ten seconds.


@task(task_run_name="read {path.name}", retries=2, retry_delay_seconds=10)
def read_records(path: Path) -> list[Record]:
    """Every record below the header, the unreadable ones too; blank lines are none, and an empty field is missing."""
    records: list[Record] = []
    header: list[str] = []
    line = 1
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                fields = [field.strip() for field in row]
                if not header:
                    header = [name.lower() for name in fields]
                elif fields:
                    unreadable = None
                    if len(fields) != len(header):
                        unreadable = f"{len(fields)} fields where the header has {len(header)}"
                    elif "\N{REPLACEMENT CHARACTER}" in "".join(fields):
                        unreadable = "not UTF-8"
                    values = {name: field for name, field in zip(header, fields) if field}  # noqa: B905 - see above
                    records.append({"file": path.name, "line": line, "values": values, "unreadable": unreadable})
                line = reader.line_num + 1
        except csv.Error as error:
            unreadable = f"not CSV from here to the end of the file: {error}"
            records.append({"file": path.name, "line": line, "values": {}, "unreadable": unreadable})
    return records


@task(task_run_name="check batch {number:04d}", retries=2, retry_delay_seconds=10)
def check_batch(batch: list[Record], number: int, rules: dict[str, Any], working: Path) -> Path:
    """Check a batch of records into a working file."""
    checked = [check(record, rules) for record in batch]
    return write_text(working / f"part-{number:04d}.json", json.dumps(checked, ensure_ascii=False))


@task(task_run_name="sort out valid and rejected", retries=2, retry_delay_seconds=10)
def collect(parts: list[Path]) -> tuple[list[Record], list[Record]]:
    """Valid users and rejected records of all working files."""
    return sort_out([record for part in parts for record in json.loads(part.read_text(encoding="utf-8"))])


@task(task_run_name="write valid.csv and report.json", retries=2, retry_delay_seconds=10)
def write_results(folder: Path, users: list[Record], report: dict[str, Any]) -> None:
    """Write both results."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(User.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(users)
    write_text(folder / "valid.csv", table.getvalue())
    write_text(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


@task(task_run_name="clear {working}", retries=2, retry_delay_seconds=10)
def clear(working: Path) -> None:
    """Remove the working files, and their folder if nobody else put anything there."""
    if working.is_dir():
        for part in working.glob("part-*.json*"):
            part.unlink(missing_ok=True)
        if not any(working.iterdir()):
            working.rmdir()


@flow(name="RPA2ProcessingFlow", task_runner=ThreadPoolTaskRunner(max_workers=4))  # type: ignore[arg-type]
def rpa2_workflow(
    cleanup: bool = True,
    batch_size: PositiveInt = 100,
    input_folder: Path = Path("flows/rpa2/data"),
    output_folder: Path = Path("flows/rpa2/output"),
) -> dict[str, Any]:
    """Validate user records and say of every rejected one what is wrong with it.

    Args:
        cleanup: Remove the working files at the end; the results stay.
        batch_size: How many records one check task takes. It changes the speed, never the result.
        input_folder: Folder with the CSV files, relative to where the flow runs.
        output_folder: Folder for `valid.csv` and `report.json`; created if missing.

    Returns:
        The report's counts, and where the report is.
    """
    if input_folder.resolve() == output_folder.resolve():
        raise ValueError(f"{output_folder} is the input folder too: valid.csv would be read by the next run")
    rules = {
        "minimum_age": int(os.environ.get("RPA2_MINIMUM_AGE", "18")),
        "countries": os.environ.get("RPA2_COUNTRIES", "AT BE CH DE DK ES FR IT NL PL SE").upper().split(),
    }
    working = output_folder / "working"
    files = find_files(input_folder)
    clear(working)

    records_by_file = read_records.map(files).result()
    records = [record for records in records_by_file for record in records]
    batches = [records[start : start + batch_size] for start in range(0, len(records), batch_size)]
    numbers = range(1, len(batches) + 1)
    parts = check_batch.map(batches, numbers, unmapped(rules), unmapped(working)).result()
    users, rejected = collect(parts)

    status = Counter(record["status"] for record in rejected)
    counts = {"read": len(records), "valid": len(users), "invalid": status["invalid"], "duplicate": status["duplicate"]}
    read = {path.name: len(records) for path, records in zip(files, records_by_file, strict=True)}
    report = {**counts, "rules": rules, "files": read, "rejected": rejected}
    write_results(output_folder, users, report)
    create_markdown_artifact(markdown(report), key="rpa2-validation", description="User records, valid and not")
    if cleanup:
        clear(working)

    get_run_logger().info("%(read)d records: %(valid)d valid, %(invalid)d invalid, %(duplicate)d duplicate", counts)
    return {**counts, "report": str(output_folder / "report.json")}


if __name__ == "__main__":
    rpa2_workflow()
