from prefect import flow


@flow
def sales(batch_size: int = 10) -> None: ...
