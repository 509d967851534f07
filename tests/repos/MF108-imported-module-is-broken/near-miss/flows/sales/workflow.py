from prefect import flow

from shared.tables import read


@flow
def sales() -> None:
    read()
