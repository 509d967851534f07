import os

from prefect import flow

REGION = os.environ["SALES_REGION"]


@flow
def sales() -> None:
    print(REGION)
