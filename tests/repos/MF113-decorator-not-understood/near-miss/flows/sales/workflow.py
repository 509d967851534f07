from prefect import flow


@flow(retries=3, retry_delay_seconds=10, timeout_seconds=1.5, log_prints=None)
def sales() -> None: ...
