from typing import Literal

from prefect import flow
from pydantic import BaseModel


class Filter(BaseModel):
    country: Literal["DE", "FR"] = "DE"


@flow
def orders(only: Filter = Filter()) -> None: ...
