import prefect

OPTIONS = {"name": "stock", "retries": 2}


@prefect.flow(**OPTIONS)
def count_stock() -> None: ...
