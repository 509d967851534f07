from prefect import flow


@flow
def sales(region: str = "north", **filters: str) -> None:
    """Sum up: each region by itself.

    Args:
        region: Where, e.g. north: see the map.
        **filters: What to leave out.

    Returns:
        nothing: the report is a file.
    """
