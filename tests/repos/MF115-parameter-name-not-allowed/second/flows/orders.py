from prefect import flow


@flow(name="orders")
async def process(customer: str = "all", *, wait_for: list[str] | None = None) -> None: ...
