from prefect import flow


@flow
def sales(limit_: int = 10, wait: bool = False, return_states: bool = False) -> None: ...
