from prefect import flow


@flow(name="sales")
def north() -> None: ...
