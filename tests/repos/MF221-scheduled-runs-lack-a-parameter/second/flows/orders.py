import prefect


@prefect.flow
async def orders(customer: int, *, since: str, limit: int = 10) -> None: ...
