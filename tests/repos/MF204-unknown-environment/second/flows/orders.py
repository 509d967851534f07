from prefect import flow


@flow
def import_orders() -> None: ...


@flow
def export_orders() -> None: ...
