from prefect import flow


@flow(name="sales")
def south() -> None: ...
