from prefect import flow


@flow(name="orders")
def process_orders() -> None: ...
