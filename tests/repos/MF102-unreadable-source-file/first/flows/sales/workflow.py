# -*- coding: utf-9 -*-
from prefect import flow


@flow
def sales() -> None: ...
