from prefect import flow


@flow
def orders() -> None: ...


@flow
def stock() -> None: ...
