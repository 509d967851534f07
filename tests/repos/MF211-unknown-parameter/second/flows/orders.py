from prefect import flow


@flow
def orders(customer: str = 'all', **filters: str) -> None: ...
