"""The steps of the meta-flows as Prefect tasks: names, retries, states, logs and artifacts around plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from meta_flows.prefect_api import is_transient

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a step: it looks at the world anew, and what it returns stays in memory.

    Args:
        name: Name of its task runs; a format string over its arguments.
    """
    return task(task_run_name=name, cache_policy=NO_CACHE, persist_result=False)


def retried_step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a step that is tried again when the network fails or the server is busy."""
    return task(
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=3,
        retry_delay_seconds=[1, 2, 5],
        retry_condition_fn=lambda task, run, state: is_transient(state.data),
    )
