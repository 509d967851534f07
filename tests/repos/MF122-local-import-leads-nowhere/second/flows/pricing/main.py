from prefect import flow

from .rates import rate


@flow
def pricing() -> None:
    rate()
