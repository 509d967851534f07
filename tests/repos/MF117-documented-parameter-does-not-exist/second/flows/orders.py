from prefect import flow


@flow(name="orders", retries=1)
async def process(customer: str = "all", *, limit: int = 10) -> None:
    """Process orders.

    Arguments:
        customer (str): Whose.
        maximum (int): How many; those that are left
            are for the next run.
    """
