from prefect import flow


@flow
def count_stock() -> None: ...
