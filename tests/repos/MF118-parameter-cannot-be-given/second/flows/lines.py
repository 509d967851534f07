import typing

import prefect


@prefect.flow
async def lines(*, source: typing.TextIO, limit: int = 10) -> None: ...
