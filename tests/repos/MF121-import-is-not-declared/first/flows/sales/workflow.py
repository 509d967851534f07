import pandas
from prefect import flow


@flow
def sales() -> None:
    print(pandas.__version__)
