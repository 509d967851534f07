import prefect


@prefect.flow(name="report", retries="3", log_prints=True)
async def report() -> None: ...
