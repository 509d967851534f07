"""RPA3ProcessingFlow: customer orders."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.rpa3.workflow import (
    Discount,
    PricingPolicy,
    check_inventory,
    find_files,
    parse_stock,
    price,
    rpa3_workflow,
    validate_batch,
)

POLICY = PricingPolicy(
    tax_rates={"DE": Decimal("0.19"), "XX": Decimal(0)},
    discounts=[
        Discount(from_amount=Decimal(1000), rate=Decimal("0.10")),
        Discount(from_amount=Decimal(500), rate=Decimal("0.05")),
    ],
)
STOCK = '{"BERLIN": {"A": {"quantity": 5, "unit_price": "10.00"}}}'


def order(order_id: str = "1", date: str = "2026-03-02", country: str = "DE", **quantities: int) -> dict[str, Any]:
    lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
    return {"order_id": order_id, "date": date, "customer": "Ida", "country": country, "lines": lines}


def record(line: int = 1, **fields: Any) -> dict[str, Any]:
    return {"file": "a.jsonl", "line": line, "order": order(**fields), "reasons": []}


def amounts(unit_price: str, quantity: int, country: str = "DE") -> tuple[str, ...]:
    priced = price(record(country=country, A=quantity), {"A": Decimal(unit_price)}, POLICY)["order"]
    return tuple(priced[name] for name in ("net", "discount", "tax", "gross"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A folder with a stock of five and one order for two of them."""
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "stock.json").write_text(STOCK)
    (folder / "a.jsonl").write_text(json.dumps(order(A=2)) + "\n")
    return folder


@pytest.fixture(scope="module")
def shipped(checkout: Path, prefect_server: None) -> dict[str, Any]:
    """What a run with all defaults returns."""
    return rpa3_workflow()


def test_the_shipped_orders_are_served_or_explained(checkout: Path, shipped: dict[str, Any]) -> None:
    output = checkout / "flows/rpa3/output"
    summary, fulfilments = read(output / "summary.json"), read(output / "fulfilments.json")
    counts = {"read": 28, "fulfilled": 16, "backordered": 6, "rejected": 6}
    assert summary.items() >= counts.items()
    assert shipped == {**counts, "revenue": summary["revenue"], "summary": "flows/rpa3/output/summary.json"}
    assert summary["revenue"] == {"net": "7315.92", "discount": "235.32", "tax": "1386.52", "gross": "8467.12"}
    assert {order["order_id"]: order["missing"] for order in summary["backorders"]} == {
        "A-1006": {"SCREEN-27": 1},
        "A-1011": {"SCREEN-27": 3},
        "A-1014": {"SCREEN-27": 2},
        "A-1015": {"SCREEN-27": 3},
        "A-1016": {"SCREEN-27": 2},
        "A-1028": {"CHAIR-02": 1},
    }
    assert [(order["file"], order["line"], len(order["reasons"])) for order in summary["bad_orders"]] == [
        ("orders-2026-03-02.jsonl", 5, 2),
        ("orders-2026-03-02.jsonl", 10, 1),
        ("orders-2026-03-03.jsonl", 4, 1),
        ("orders-2026-03-03.jsonl", 7, 1),
        ("orders-2026-03-03.jsonl", 9, 1),
        ("orders-2026-03-03.jsonl", 12, 2),
    ]
    sent = Counter({line["sku"]: 0 for order in fulfilments for line in order["lines"]})
    for fulfilment in fulfilments:
        assert fulfilment["warehouse"] == "BERLIN"
        sent.update({line["sku"]: line["quantity"] for line in fulfilment["lines"]})
    stock = {sku: entry["quantity"] for sku, entry in read(checkout / "flows/rpa3/data/stock.json")["BERLIN"].items()}
    assert {sku: stock[sku] - sent[sku] for sku in stock} == summary["stock_left"]


@pytest.mark.usefixtures("shipped")
def test_other_batches_give_the_same_results_and_without_cleanup_the_working_files_stay(checkout: Path) -> None:
    first, again = checkout / "flows/rpa3/output", checkout / "again"
    rpa3_workflow(batch_size=3, cleanup=False, output_folder=again)
    for name in ("fulfilments.json", "summary.json"):
        assert (again / name).read_bytes() == (first / name).read_bytes()
    assert names_in(first) == ["fulfilments.json", "summary.json"]
    assert names_in(again / "working") == [f"part-000{number}.json" for number in range(1, 7)]


@pytest.mark.usefixtures("prefect_server")
def test_the_policy_comes_as_json_and_the_warehouse_from_the_environment(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (orders / "stock.json").write_text(STOCK.replace("BERLIN", "ROME"))
    (orders / "b.jsonl").write_bytes(b"\xef\xbb\xbf\n")
    monkeypatch.setenv("RPA3_WAREHOUSE", "ROME")
    monkeypatch.setenv("RPA3_CURRENCY", "CHF")

    policy: Any = {"tax_rates": {"DE": 0.5}, "discounts": [{"from_amount": "20", "rate": "0.25"}]}
    result = rpa3_workflow(policy=policy, input_folder=orders, output_folder=orders / "out")
    assert result["revenue"] == {"net": "20.00", "discount": "5.00", "tax": "7.50", "gross": "22.50"}
    assert read(orders / "out/summary.json").items() >= {"warehouse": "ROME", "currency": "CHF", "read": 1}.items()


@pytest.mark.usefixtures("prefect_server")
def test_without_any_order_everything_is_empty(orders: Path) -> None:
    (orders / "a.jsonl").write_bytes(b"")
    result = rpa3_workflow(input_folder=orders, output_folder=orders / "out")
    assert (result["read"], result["revenue"]["gross"]) == (0, "0.00")
    assert read(orders / "out/fulfilments.json") == []


@pytest.mark.usefixtures("prefect_server")
def test_a_wrong_stock_file_fails_the_run_and_says_where(orders: Path) -> None:
    (orders / "stock.json").write_text(STOCK.replace("5", "-5"))
    state = rpa3_workflow(input_folder=orders, output_folder=orders / "out", return_state=True)
    assert state.is_failed()
    assert "stock.json is wrong: BERLIN.A.quantity: Input should be greater than or equal to 0" in str(state.message)
    assert not (orders / "out").exists()


def test_a_folder_that_lacks_something_is_refused_and_named(orders: Path) -> None:
    assert names_in(orders) == [*(path.name for path in find_files(orders)), "stock.json"]
    (orders / "stock.json").unlink()
    with pytest.raises(ValueError, match=f"no stock.json in input folder {orders}"):
        find_files(orders)
    (orders / "a.jsonl").unlink()
    with pytest.raises(ValueError, match=rf"no order file \(\*.jsonl\) in input folder {orders}"):
        find_files(orders)
    with pytest.raises(ValueError, match=f"no input folder {orders / 'x'}"):
        find_files(orders / "x")


def test_an_unknown_warehouse_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no warehouse ROME, only BERLIN"):
        parse_stock(STOCK, "ROME")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (json.dumps(order(A=1)), []),
        (json.dumps(order(A=1) | {"note": "ring twice"}), []),
        (json.dumps(order()), ["lines"]),
        (json.dumps(order(A=0, B=10_001)), ["lines.0.quantity", "lines.1.quantity"]),
        (json.dumps(order(A=1) | {"date": 86400, "country": "de", "customer": ""}), ["date", "customer", "country"]),
        (
            json.dumps(order(A=1) | {"lines": [{"sku": "A", "quantity": "1"}, {}]}),
            ["lines.0.quantity", "lines.1.sku", "lines.1.quantity"],
        ),
        ("{", ["Invalid JSON"]),
        ("[1]", ["Input should be an object"]),
        ('{"customer": "Caf\ufffd"}', ["not UTF-8"]),
    ],
)
def test_every_fault_of_an_order_is_a_reason(text: str, faults: list[str]) -> None:
    (found,) = validate_batch.fn([{"file": "a.jsonl", "line": 7, "text": text}], 1)
    assert (found["file"], found["line"]) == ("a.jsonl", 7)
    assert [reason.split(": ")[0] for reason in found["reasons"]] == faults
    assert ("order" in found) != bool(faults)


def test_an_order_without_price_or_tax_rate_is_refused_with_every_reason() -> None:
    priced = price(record(country="US", A=1, C=1, B=1), {"A": Decimal(1)}, POLICY)
    assert priced["reasons"] == [
        "lines: No article B in this warehouse",
        "lines: No article C in this warehouse",
        "country: No tax rate for US",
    ]


@pytest.mark.parametrize(
    ("unit_price", "quantity", "country", "expected"),
    [
        ("19.99", 3, "DE", ("59.97", "0.00", "11.39", "71.36")),
        ("1.50", 1, "DE", ("1.50", "0.00", "0.29", "1.79")),  # half a cent is rounded up
        ("499.99", 1, "XX", ("499.99", "0.00", "0.00", "499.99")),
        ("500.00", 1, "XX", ("500.00", "25.00", "0.00", "475.00")),
        ("500.10", 1, "XX", ("500.10", "25.01", "0.00", "475.09")),
        ("100", 10, "DE", ("1000.00", "100.00", "171.00", "1071.00")),
    ],
)
def test_discount_comes_before_tax_and_both_are_rounded_to_the_cent(
    unit_price: str, quantity: int, country: str, expected: tuple[str, ...]
) -> None:
    assert amounts(unit_price, quantity, country) == expected


@given(cents=st.integers(0, 10**12 - 1), quantity=st.integers(1, 10_000), country=st.sampled_from(["DE", "XX"]))
def test_the_amounts_of_an_order_add_up_exactly(cents: int, quantity: int, country: str) -> None:
    net, discount, tax, gross = (
        int(Decimal(amount) * 100) for amount in amounts(str(Decimal(cents) / 100), quantity, country)
    )
    assert net == cents * quantity
    assert gross == net - discount + tax
    assert abs(tax * 100 - (net - discount) * (19 if country == "DE" else 0)) <= 50


def test_stock_goes_to_the_earlier_order_and_a_smaller_one_may_pass_a_waiting_one() -> None:
    records = [
        record(1, order_id="late", date="2026-03-03", A=2),
        record(2, order_id="large", date="2026-03-02", A=4, B=1),
        record(3, order_id="early", date="2026-03-01", A=2),
    ]
    result = check_inventory.fn(records, {"A": 5, "B": 1})
    assert [order["order_id"] for order in result["fulfilled"]] == ["early", "late"]
    assert [(order["order_id"], order["missing"]) for order in result["backordered"]] == [("large", {"A": 1})]
    assert result["left"] == {"A": 1, "B": 1}


def test_two_lines_of_one_article_need_their_sum() -> None:
    twice = record(A=3)
    twice["order"]["lines"] *= 2
    assert check_inventory.fn([twice], {"A": 5})["backordered"][0]["missing"] == {"A": 1}


def test_an_order_id_counts_once_and_a_rejected_order_does_not_claim_it() -> None:
    wrong = {"file": "a.jsonl", "line": 1, "reasons": ["country: No tax rate for US"], "order": order("1", A=1)}
    result = check_inventory.fn([wrong, record(2, order_id="1", A=1), record(3, order_id="1", A=1)], {"A": 5})
    assert [order["order_id"] for order in result["fulfilled"]] == ["1"]
    assert [(order["line"], order["reasons"]) for order in result["rejected"]] == [
        (1, ["country: No tax rate for US"]),
        (3, ["order_id: Same as in a.jsonl, line 2"]),
    ]


quantities = st.dictionaries(st.sampled_from("ABC"), st.integers(1, 9), min_size=1)


@settings(max_examples=60)
@given(
    wanted=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), quantities), max_size=15),
    stock=st.fixed_dictionaries({sku: st.integers(0, 20) for sku in "ABC"}),
    shuffled=st.randoms(),
)
def test_no_order_is_lost_no_stock_is_invented_and_the_order_of_the_lines_does_not_matter(
    wanted: list[tuple[int, int, dict[str, int]]], stock: dict[str, int], shuffled: Any
) -> None:
    records = [
        record(line, order_id=str(n), date=f"2026-03-0{day}", **needed) for line, (n, day, needed) in enumerate(wanted)
    ]
    result = check_inventory.fn(records, stock)
    assert sum(len(result[name]) for name in ("fulfilled", "backordered", "rejected")) == len(records)
    sent: Counter[str] = Counter()
    for served in result["fulfilled"]:
        sent.update({line["sku"]: line["quantity"] for line in served["lines"]})
    assert {sku: stock[sku] - sent[sku] for sku in stock} == result["left"]
    assert min(result["left"].values()) >= 0
    for waiting in result["backordered"]:
        needed = {line["sku"]: line["quantity"] for line in waiting["lines"]}
        assert all(0 < missing <= needed[sku] for sku, missing in waiting["missing"].items())
        assert any(quantity > result["left"][sku] for sku, quantity in needed.items())

    unique = list({entry["order"]["order_id"]: entry for entry in records}.values())
    mixed = shuffled.sample(unique, len(unique))
    assert check_inventory.fn(mixed, stock) == check_inventory.fn(unique, stock)
