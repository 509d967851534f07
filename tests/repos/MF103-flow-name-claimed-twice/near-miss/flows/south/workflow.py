from prefect import flow


@flow(name="daily_report")
def daily() -> None: ...
