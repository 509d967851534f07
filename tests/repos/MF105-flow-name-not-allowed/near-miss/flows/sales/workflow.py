from prefect import flow


@flow(name="Sales: daily – Zürich (2026) | all_regions")
def sales() -> None: ...
