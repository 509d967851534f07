from prefect import flow


def make(region: str):
    @flow
    def regional() -> None: ...

    return regional


@flow
def sales() -> None: ...
