from prefect import flow


@flow
def daily_report() -> None: ...
