from collections.abc import Callable, Iterable

from prefect import flow


@flow
def sales(rows: Iterable[str], convert: Callable[[str], int] = int) -> None: ...
