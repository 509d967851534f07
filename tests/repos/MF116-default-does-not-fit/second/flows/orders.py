from typing import Literal

from prefect import flow


@flow(name="orders")
def process(
    customers: "list[int]" = [],
    mode: Literal["full", "changes"] = "change",
) -> None: ...
