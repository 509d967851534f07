import prefect


class Shop:
    @prefect.flow(name="restock")
    def restock(self) -> None: ...

    @prefect.flow(name="open")
    @staticmethod
    def open_shop() -> None: ...
