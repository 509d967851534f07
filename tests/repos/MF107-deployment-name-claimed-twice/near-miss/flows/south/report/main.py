from prefect import flow


@flow
def south_report() -> None: ...
