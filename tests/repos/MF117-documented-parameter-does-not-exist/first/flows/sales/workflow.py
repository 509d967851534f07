from prefect import flow


@flow
def sales(region: str = "north") -> None:
    """Sum up.

    Args:
        regoin: Where.
    """
