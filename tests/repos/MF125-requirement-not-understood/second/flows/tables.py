# /// script
# requires-python = ">=3.10"
# dependencies = ["prefect", "polars 1.8"]
# ///
from prefect import flow


@flow
def tables() -> None: ...
