from prefect import flow


@flow
def sales(region: str) -> None: ...
