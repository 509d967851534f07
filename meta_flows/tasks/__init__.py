"""The steps of the meta-flows as Prefect tasks: names, retries, states, logs and artifacts around plain functions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.prefect_api.compat import quote

P = ParamSpec("P")
R = TypeVar("R")


class Step(Task[P, R]):
    """A task whose arguments Prefect takes as they are.

    It would search them for states and futures of other runs, twice, which in a plan of 100 deployments takes a second.
    """

    def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        """Run it, as any task."""
        run: Callable[..., Any] = super().__call__
        return run(*map(quote, args), return_state=return_state, **_quoted(kwargs))

    def submit(self, *args: Any, **kwargs: Any) -> PrefectFuture[R]:  # type: ignore[override]
        """Run it beside what comes next."""
        submit: Callable[..., PrefectFuture[R]] = super().submit
        return submit(*map(quote, args), **_quoted(kwargs))


def _quoted(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: quote(value) for name, value in arguments.items()}


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a step: it looks at the world anew, and what it returns stays in memory.

    It has no retries of its own: Prefect's client tries each request again when the network fails or the server is
    busy, and retries of retries only make a failure take longer.

    Args:
        name: Name of its task runs; a format string over its arguments.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        return Step(function, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)

    return make


@step("{name}")
def run_step(name: str, action: Callable[[], R]) -> R:
    """Carry out a step under a name."""
    return action()


class _Plain(logging.Filter):
    """Lets errors of ours stand in a run's log as people should read them, without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MetaFlowsError):
            record.msg, record.args, record.exc_info = "%s", (str(error),), None
        return True


for _logger in ("prefect.flow_runs", "prefect.task_runs"):  # to which Prefect's engine tells what a run raised
    logging.getLogger(_logger).addFilter(_Plain())
