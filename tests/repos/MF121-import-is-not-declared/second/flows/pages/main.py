from prefect import flow

from shared.titles import title


@flow
def pages() -> None:
    title("")
