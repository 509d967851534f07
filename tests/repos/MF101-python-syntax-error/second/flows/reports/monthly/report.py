from prefect import flow

REGIONS = ["north", "south"


@flow(name="monthly-report")
async def report() -> None: ...
