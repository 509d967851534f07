from prefect import flow


@flow(name="menu")
def menu(dish: str = "crème") -> None: ...
