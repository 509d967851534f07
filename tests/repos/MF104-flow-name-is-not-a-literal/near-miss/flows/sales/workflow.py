from prefect import flow

REGION = "north"


@flow(
    name="sales-" f"daily",
    description=f"Sales of the {REGION}",
)
def sales() -> None: ...
