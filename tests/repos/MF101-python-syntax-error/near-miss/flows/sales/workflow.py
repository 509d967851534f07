from prefect import flow

match = ["north", "south"
]

@flow
def sales(
    *, case: str = "def sales("
) -> None: ...
