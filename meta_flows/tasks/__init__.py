"""The steps of the meta-flows as Prefect tasks: names, retries, states, logs and artifacts around plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a step: it looks at the world anew, and what it returns stays in memory.

    It has no retries of its own: Prefect's client tries each request again when the network fails or the server is
    busy, and retries of retries only make a failure take longer.

    Args:
        name: Name of its task runs; a format string over its arguments.
    """
    return task(task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
