from prefect import flow as scheduled


@scheduled(
    name=2026,
    retries=1,
)
async def report() -> None: ...
