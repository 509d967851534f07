from prefect import flow


@flow
def invoices() -> None: ...
