from prefect import flow


@flow
def sales() -> None: ...
