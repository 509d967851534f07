from prefect import flow


@flow
def north_report() -> None: ...
