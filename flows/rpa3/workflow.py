"""Customer orders: validate and price them, serve them from stock by date, write what is sent and what has to wait.

Every `*.jsonl` of a folder holds an order a line, `{"order_id", "date", "customer", "country", "lines": [{"sku",
"quantity"}]}`; `stock.json` beside them is `{warehouse: {sku: {"quantity", "unit_price"}}}`. An order is served whole
or not at all: `read = fulfilled + backordered + rejected`. The input stays as it is, so a second run gives the same.
"""

import datetime as dt
import json
import os
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task, unmapped
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, Field, PositiveInt, TypeAdapter, ValidationError

Record = dict[str, Any]
"""An order's `file`, `line` and `text`; once validated its `order` instead of the text, or the `reasons` against it."""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Money = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]
Rate = Annotated[Decimal, Field(ge=0, le=1)]


class Discount(BaseModel):
    """What an order of a certain size saves."""

    from_amount: Money = Field(description="Net amount from which it is given")
    rate: Rate = Field(description="Share of the net amount: 0.05 is 5 %")


class PricingPolicy(BaseModel, frozen=True):
    """How orders are priced: a flow parameter of its own type, which the Prefect UI shows as a form."""

    tax_rates: dict[str, Rate] = Field(
        default={"AT": Decimal("0.20"), "DE": Decimal("0.19"), "FR": Decimal("0.20"), "NL": Decimal("0.21")},
        description="Tax rate by country; orders from elsewhere are rejected",
    )
    discounts: list[Discount] = Field(
        default=[Discount(from_amount=Decimal(500), rate=Decimal("0.05"))],
        description="Of those that an order reaches, the best is given",
    )


class Line(BaseModel):
    """One position of an order."""

    sku: Text
    quantity: Annotated[int, Field(gt=0, le=10_000)]


class Order(BaseModel):
    """One order as a customer places it."""

    order_id: Text
    date: Annotated[dt.date, Field(ge=dt.date(2000, 1, 1))]
    customer: Text
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    lines: Annotated[list[Line], Field(min_length=1, max_length=1000)]


class Article(BaseModel):
    """What a warehouse has of one SKU, and its price."""

    quantity: Annotated[int, Field(ge=0)]
    unit_price: Money


def find_files(folder: Path) -> list[Path]:
    """The order files of a folder, by name."""
    if not folder.is_dir():
        raise ValueError(f"there is no input folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() == ".jsonl")
    if not files or not (folder / "stock.json").is_file():
        raise ValueError(f"there is no {'stock.json' if files else 'order file (*.jsonl)'} in input folder {folder}")
    return files


def reasons(error: ValidationError) -> list[str]:
    """Everything that a validation found."""
    return [": ".join(filter(None, (".".join(map(str, found["loc"])), found["msg"]))) for found in error.errors()]


def parse_stock(text: str, warehouse: str) -> dict[str, Article]:
    """What one warehouse has, by SKU. One wrong entry refuses the file: selling late is better than selling wrongly."""
    try:
        stock = TypeAdapter(dict[str, dict[str, Article]]).validate_json(text)
    except ValidationError as error:
        raise ValueError(f"stock.json is wrong: {'; '.join(reasons(error))}") from None
    if warehouse not in stock:
        raise ValueError(f"stock.json has no warehouse {warehouse}, only {', '.join(sorted(stock))}")
    return stock[warehouse]


def price(record: Record, prices: dict[str, Decimal], policy: PricingPolicy) -> Record:
    """Add net, discount, tax and gross to a valid order, or every reason why it has no price."""
    if record["reasons"]:
        return record
    order, cent = record["order"], Decimal("0.01")
    unknown = sorted({line["sku"] for line in order["lines"]} - prices.keys())
    faults = [f"lines: No article {sku} in this warehouse" for sku in unknown]
    if order["country"] not in policy.tax_rates:
        faults.append(f"country: No tax rate for {order['country']}")
    if faults:
        return {**record, "reasons": faults}
    net = sum((line["quantity"] * prices[line["sku"]] for line in order["lines"]), Decimal())
    rate = max((discount.rate for discount in policy.discounts if net >= discount.from_amount), default=Decimal())
    discount = (net * rate).quantize(cent, ROUND_HALF_UP)
    tax = ((net - discount) * policy.tax_rates[order["country"]]).quantize(cent, ROUND_HALF_UP)
    amounts = {"net": net, "discount": discount, "tax": tax, "gross": net - discount + tax}
    return {**record, "order": {**order, **{name: f"{amount:.2f}" for name, amount in amounts.items()}}}


def total(orders: list[Record], amount: str) -> str:
    """The sum of one amount over orders."""
    return f"{sum((Decimal(order[amount]) for order in orders), Decimal()):.2f}"


def in_batches(records: list[Record], size: int) -> list[list[Record]]:
    """The records in order, `size` at a time."""
    return [records[start : start + size] for start in range(0, len(records), size)]


def write_json(path: Path, content: Any) -> Path:
    """Replace a file as a whole: whoever reads it meets the old content or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return draft.replace(path)


# Where retries stand, files are touched, perhaps on a share that is back in ten seconds; pricing twice would not help.


@task(task_run_name="read {path.name}", retries=2, retry_delay_seconds=10)
def read_text(path: Path) -> str:
    """Read a file; what is not UTF-8 in it becomes a replacement character, and is told by it."""
    return path.read_text(encoding="utf-8-sig", errors="replace")


@task(task_run_name="validate batch {number:04d}")
def validate_batch(batch: list[Record], number: int) -> list[Record]:
    """Read the orders out of their lines, or every reason why a line holds none."""
    records = []
    for record in batch:
        found: Record = {"file": record["file"], "line": record["line"], "reasons": []}
        if "\N{REPLACEMENT CHARACTER}" in record["text"]:
            records.append({**found, "reasons": ["not UTF-8"]})
            continue
        try:
            found["order"] = Order.model_validate_json(record["text"], strict=True).model_dump(mode="json")
        except ValidationError as error:
            found["reasons"] = reasons(error)
        records.append(found)
    return records


@task(task_run_name="price batch {number:04d}")
def price_batch(batch: list[Record], number: int, prices: dict[str, Decimal], policy: PricingPolicy) -> list[Record]:
    """Price a batch of validated orders."""
    return [price(record, prices, policy) for record in batch]


@task(task_run_name="check inventory")
def check_inventory(records: list[Record], stock: dict[str, int]) -> dict[str, Any]:
    """Serve the orders by date and id; one that cannot be served whole takes nothing, so a later one may be served."""
    rejected, backordered, fulfilled = [], [], []
    first: dict[str, Record] = {}
    for record in records:
        why = record["reasons"]
        if not why and (same := first.setdefault(record["order"]["order_id"], record)) is not record:
            why = [f"order_id: Same as in {same['file']}, line {same['line']}"]
        if why:
            rejected.append({"file": record["file"], "line": record["line"], "reasons": why})
    left = Counter(stock)
    for order in sorted((record["order"] for record in first.values()), key=itemgetter("date", "order_id")):
        needed: Counter[str] = Counter()
        for line in order["lines"]:
            needed[line["sku"]] += line["quantity"]
        if missing := needed - left:
            backordered.append({**order, "missing": dict(sorted(missing.items()))})
        else:
            left.subtract(needed)
            fulfilled.append(order)
    return {"fulfilled": fulfilled, "backordered": backordered, "rejected": rejected, "left": dict(left)}


@task(task_run_name="fulfil batch {number:04d}", retries=2, retry_delay_seconds=10)
def fulfil_batch(batch: list[Record], number: int, warehouse: str, working: Path) -> Path:
    """Write what to send from where to whom, for a batch of orders, into a working file."""
    return write_json(working / f"part-{number:04d}.json", [{"warehouse": warehouse, **order} for order in batch])


@task(task_run_name="write fulfilments.json and summary.json", retries=2, retry_delay_seconds=10)
def write_results(folder: Path, parts: list[Path], summary: dict[str, Any]) -> None:
    """Join the working files; the summary comes last, so that whoever waits for it finds both."""
    fulfilments = [order for part in parts for order in json.loads(part.read_text(encoding="utf-8"))]
    write_json(folder / "fulfilments.json", fulfilments)
    write_json(folder / "summary.json", summary)


@task(task_run_name="clear {working}", retries=2, retry_delay_seconds=10)
def clear(working: Path) -> None:
    """Remove the working files, and their folder if nobody else put anything there."""
    if working.is_dir():
        for part in working.glob("part-*.json*"):
            part.unlink(missing_ok=True)
        if not any(working.iterdir()):
            working.rmdir()


@flow(name="RPA3ProcessingFlow", task_runner=ThreadPoolTaskRunner(max_workers=4))  # type: ignore[arg-type]
def rpa3_workflow(
    cleanup: bool = True,
    batch_size: PositiveInt = 100,
    policy: PricingPolicy = PricingPolicy(),  # noqa: B008 - it is frozen
    input_folder: Path = Path("flows/rpa3/data"),
    output_folder: Path = Path("flows/rpa3/output"),
) -> dict[str, Any]:
    """Price customer orders, serve them from stock, and say which have to wait and which are wrong.

    Args:
        cleanup: Remove the working files at the end; the results stay.
        batch_size: How many orders one task takes. It changes the speed, never the result.
        policy: Tax rates and discounts.
        input_folder: Folder with the order files and `stock.json`, relative to where the flow runs.
        output_folder: Folder for `fulfilments.json` and `summary.json`; created if missing.

    Returns:
        The summary's counts and revenue, and where the summary is.
    """
    warehouse = os.environ.get("RPA3_WAREHOUSE", "BERLIN")
    working = output_folder / "working"
    files = find_files(input_folder)
    clear(working)

    stock = parse_stock(read_text(input_folder / "stock.json"), warehouse)
    prices = {sku: article.unit_price for sku, article in stock.items()}
    records = [
        {"file": path.name, "line": number, "text": line}
        for path, text in zip(files, read_text.map(files).result(), strict=True)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    batches = in_batches(records, batch_size)
    validated = validate_batch.map(batches, range(1, len(batches) + 1))
    priced = price_batch.map(validated, range(1, len(batches) + 1), unmapped(prices), unmapped(policy)).result()
    quantities = {sku: article.quantity for sku, article in stock.items()}
    result = check_inventory([record for batch in priced for record in batch], quantities)
    batches = in_batches(result["fulfilled"], batch_size)
    parts = fulfil_batch.map(batches, range(1, len(batches) + 1), unmapped(warehouse), unmapped(working)).result()

    counts = {"read": len(records), **{name: len(result[name]) for name in ("fulfilled", "backordered", "rejected")}}
    revenue = {name: total(result["fulfilled"], name) for name in ("net", "discount", "tax", "gross")}
    currency = os.environ.get("RPA3_CURRENCY", "EUR")
    details = {"backorders": result["backordered"], "bad_orders": result["rejected"], "stock_left": result["left"]}
    summary = {"warehouse": warehouse, "currency": currency, **counts, "revenue": revenue, **details}
    write_results(output_folder, parts, summary)
    if cleanup:
        clear(working)

    logger = get_run_logger()
    logger.info("%(read)d orders: %(fulfilled)d fulfilled, %(backordered)d backordered, %(rejected)d rejected", counts)
    return {**counts, "revenue": revenue, "summary": str(output_folder / "summary.json")}


if __name__ == "__main__":
    rpa3_workflow()
