from prefect import flow

REGION = "north"


@flow(name=f"sales-{REGION}")
def sales() -> None: ...
