from prefect import flow

from flows.shared import tables

try:
    from flows.shared import fast_tables
except ImportError:
    fast_tables = tables


@flow
def sales() -> None:
    fast_tables.read()
