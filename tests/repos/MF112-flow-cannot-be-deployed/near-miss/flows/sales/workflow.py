from functools import cache

from prefect import flow, task


def make(region: str):
    @task
    def regional() -> None: ...

    @cache
    def workflow() -> None: ...

    return regional, workflow


class Shop:
    @flow
    @staticmethod
    def sales() -> None: ...
