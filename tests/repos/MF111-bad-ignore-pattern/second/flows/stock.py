from prefect import flow


@flow
def stock() -> None: ...
