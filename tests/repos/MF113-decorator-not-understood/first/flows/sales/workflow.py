from prefect import flow


@flow(retry=3)
def sales() -> None: ...
