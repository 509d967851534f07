from prefect import flow


@flow
def sales(api_key_name: str = '', max_tokens: int = 1, token: bool = True) -> None: ...
