from prefect import flow

from flows.shared import tabels


@flow
def sales() -> None:
    tabels.read()
