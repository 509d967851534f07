from prefect import flow


@flow
def sales(_limit: int = 10) -> None: ...
