from typing import Literal

from prefect import flow


@flow
def sales(region: str | None = None, share: float = 1, mode: Literal["full", "changes"] = "full") -> None: ...
