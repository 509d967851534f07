from prefect import flow


@flow
def sales(api_key: str = '') -> None: ...
