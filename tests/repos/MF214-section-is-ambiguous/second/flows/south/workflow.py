from prefect import flow


@flow
def south() -> None: ...
