"""The steps of the meta-flows as Prefect tasks: names, retries, states, logs and artifacts around plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a step: it looks at the world anew, and what it returns stays in memory.

    It has no retries of its own: Prefect's client tries each request again when the network fails or the server is
    busy, and retries of retries only make a failure take longer.

    Args:
        name: Name of its task runs; a format string over its arguments.
    """
    return lambda function: _Step(function, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)


class _Step(Task[P, R]):
    """A task whose arguments Prefect does not search for the results of other tasks.

    It would look at every value in every plan and deployment twice, which takes longer than all the rest of a step.
    """

    def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        quoted = {key: quote(value) for key, value in kwargs.items()}
        return super().__call__(*map(quote, args), return_state=return_state, **quoted)  # type: ignore[arg-type]  # quotes are taken off again
