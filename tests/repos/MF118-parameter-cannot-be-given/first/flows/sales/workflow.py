from collections.abc import Callable

from prefect import flow


@flow
def sales(convert: Callable[[str], int]) -> None: ...
