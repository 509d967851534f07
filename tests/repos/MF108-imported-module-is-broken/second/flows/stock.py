from prefect import flow


@flow
def stock() -> None:
    import warehouse

    warehouse.count()
