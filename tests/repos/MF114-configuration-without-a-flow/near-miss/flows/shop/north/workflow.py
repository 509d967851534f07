from prefect import flow


@flow
def north() -> None: ...
