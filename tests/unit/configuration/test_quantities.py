"""Memory and cpu."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from meta_flows.configuration.sections import cpu_count, memory_bytes


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("512Mi", 512 * 1024**2),
        ("2Gi", 2 * 1024**3),
        ("1.5Gi", 1536 * 1024**2),
        ("1024Ki", 1024**2),
        ("3Ki", 3072),
        ("1G", 1000**3),
        ("500M", 500 * 1000**2),
        ("64k", 64_000),
        ("1048577", 1048577),
        ("0.3Ki", 308),
        ("1Ei", 1024**6),
    ],
)
def test_memory_is_read_as_kubernetes_reads_it(quantity: str, amount: int) -> None:
    assert memory_bytes(quantity) == amount


@pytest.mark.parametrize(("quantity", "count"), [("500m", 0.5), ("0.5", 0.5), ("2", 2.0), ("1.0", 1.0), ("1500m", 1.5)])
def test_cpu_is_read_as_kubernetes_reads_it(quantity: str, count: float) -> None:
    assert cpu_count(quantity) == count


@pytest.mark.parametrize(
    "quantity", ["", "lots", "512m", "512MB", "512 Mi", "-1Gi", "0", "0Mi", "1e3", "Mi", "1.Gi", "٣Mi", "K"]
)
def test_nonsense_is_no_memory(quantity: str) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        memory_bytes(quantity)
    assert refused.value.type == "MF212"


@pytest.mark.parametrize("quantity", ["", "half", "0", "0m", "-1", "1Gi", "1 m", "m", ".5"])
def test_nonsense_is_no_cpu(quantity: str) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        cpu_count(quantity)
    assert refused.value.type == "MF212"
