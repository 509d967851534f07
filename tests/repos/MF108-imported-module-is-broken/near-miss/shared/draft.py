def read() -> list[str]
    return []
