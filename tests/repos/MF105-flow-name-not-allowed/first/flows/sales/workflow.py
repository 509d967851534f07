from prefect import flow


@flow(name="sales/daily")
def sales() -> None: ...
