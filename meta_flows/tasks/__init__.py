"""The steps of the meta-flows as Prefect tasks: names, retries, states, logs and artifacts around plain functions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.engine import joined
from meta_flows.models import DeployResult, Ownership
from meta_flows.prefect_api.compat import quote, url_for
from meta_flows.reporting import markdown

P = ParamSpec("P")
R = TypeVar("R")


class Step(Task[P, R]):
    """A task whose arguments Prefect takes as they are.

    It would search them for states and futures of other runs, twice, which takes a second in a plan of 100 deployments.
    """

    def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        """Run the step."""
        run: Callable[..., Any] = super().__call__
        return run(*map(quote, args), return_state=return_state, **_quoted(kwargs))

    def submit(self, *args: Any, **kwargs: Any) -> PrefectFuture[R]:  # type: ignore[override]
        """Run the step in the background."""
        submit: Callable[..., PrefectFuture[R]] = super().submit
        return submit(*map(quote, args), **_quoted(kwargs))


def _quoted(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: quote(value) for name, value in arguments.items()}


def step(run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a step: it is never cached, and what it returns stays in memory.

    It has no retries of its own: Prefect's client tries each request again when the network fails or the server is
    busy, and retries of retries only make a failure take longer.

    Args:
        run_name: Name of its task runs, which says the step of the pipeline; a format string over its arguments.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        name = f"{function.__module__}.{function.__name__}"  # by which the logs' filter knows it
        return Step(function, name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)

    return make


@step("{name}")
def run_step(name: str, action: Callable[[], R]) -> R:
    """Run an action as a step of this name."""
    return action()


def publish(result: DeployResult, report: str, ownership: Ownership, *, appendix: str = "") -> DeployResult:
    """Link a result to its run and the UI, write it as the artifact `<report>--<project>--<environment>`, return it."""
    run_link = url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None
    result = result.model_copy(update={"run_link": run_link, "ui_url": get_current_settings().ui_url})
    text, key = markdown(result) + appendix, joined(report, *ownership)
    create_markdown_artifact(text, key=key, description=result.message)
    return result


def _without_traceback(record: logging.LogRecord) -> bool:
    """Show an error of ours by its message alone, without a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, MetaFlowsError):
        record.msg, record.args, record.exc_info = "%s", (str(error),), None
    return True


def _is_no_success_of_a_step(record: logging.LogRecord) -> bool:
    """Leave out `Finished in state Completed()` of each step that succeeded, which is half of a run's log otherwise.

    The state stands on the step's task run, and what the step did in lines of its own. Prefect logs failures as errors.
    """
    ours = str(getattr(record, "task_name", "")).startswith(f"{__name__}.")
    return not (ours and record.levelno <= logging.INFO and record.getMessage().startswith("Finished in state "))


for _logger in ("prefect.flow_runs", "prefect.task_runs"):  # where Prefect's engine logs what a run raised
    logging.getLogger(_logger).addFilter(_without_traceback)
logging.getLogger("prefect.task_runs").addFilter(_is_no_success_of_a_step)
