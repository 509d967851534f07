# /// script
# dependencies = [
#   "prefect",
#   "polars==1.8.*",
# ]
# ///
import polars
from prefect import flow


@flow
def tables() -> None:
    print(polars.DataFrame)
