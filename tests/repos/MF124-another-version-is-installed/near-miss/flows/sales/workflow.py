import httpx
from prefect import flow


@flow
def sales() -> None:
    httpx.get("https://example.com/sales")
