from prefect import flow

from flows.shared.tables import read


@flow
def sales() -> None:
    read()
