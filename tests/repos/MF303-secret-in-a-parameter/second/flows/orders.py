from prefect import flow


@flow
def orders(shop_token: str = '') -> None: ...
