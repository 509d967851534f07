"""The engine's steps as Prefect task runs: their names, states and logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from prefect import State, get_run_logger
from prefect.exceptions import FailedRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from meta_flows.configuration import Environment
from meta_flows.diagnostics import error_summary
from meta_flows.engine import DONE, Write
from meta_flows.models import Change
from meta_flows.prefect_api.compat import load_schema_tools
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.progress import progress
from meta_flows.prefect_api.store import connected_store
from meta_flows.proposals import Context, Observed, read_server
from meta_flows.tasks import run_step, step

SINGLE = 20
"""Largest number of changes that have a task run each; more of them share one.

Each task run sends five events, and while SQLite stores those it refuses our writes: with a task run each, 97 of 100
creations were first answered with 503; with one for all, 8.
"""

T = TypeVar("T")


@step("apply {change}")
def apply_change(change: Change, action: Callable[[], None]) -> State[Any]:
    """Make one change; return a state that is named for what was done, e.g. `Created`."""
    for field in change.fields if change.live else ():
        get_run_logger().info("%s: %s -> %s%s", field.path, field.old, field.new, " (drift)" if field.drift else "")
    action()
    _log_applied(change)
    return Completed(name=DONE[change.action], message=change.reason or f"{len(change.fields)} fields")


@step("apply {count} changes")
def apply_batch(count: int, carry_out: Callable[[Write], None], advance: Callable[[], None]) -> State[Any]:
    """Make many changes in one task run; return a state that counts what was done, or names what failed."""
    done, failed = Counter[str](), list[str]()

    def write(change: Change, action: Callable[[], None]) -> BaseException | None:
        advance()
        try:
            action()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is about this change
            fail_change(change, error, return_state=True)
            failed.append(f"{change.key}: {error_summary(error)}")
            return error
        _log_applied(change)
        done[DONE[change.action].lower()] += 1
        return None

    carry_out(write)
    if failed:
        return Failed(message=f"{len(failed)} of {count} changes failed: {'; '.join(failed)}")
    return Completed(name="Applied", message=", ".join(f"{number} {word}" for word, number in done.items()))


@step("apply {change}")
def fail_change(change: Change, error: BaseException) -> None:
    """Give a change of a batch that failed a task run of its own, which raises the change's error."""
    raise error


def _log_applied(change: Change) -> None:
    fields = ", ".join(field.path for field in change.fields) if change.live else ""
    get_run_logger().info("%s %s%s", DONE[change.action], change, fields and f": {fields}")


class PrefectShell:
    """Runs each step of the engine as a task run, and so each change, or many changes together."""

    def step(self, name: str, action: Callable[[], T]) -> T:
        """Run a step as a task run."""
        return run_step(name, action)

    def changes(self, count: int, apply_all: Callable[[Write], None]) -> None:
        """Make changes with a task run each, or with one for all if there are more than 20."""
        with progress("write deployments", count) as advance:
            if count > SINGLE:
                error = _failure(apply_batch(count, apply_all, advance, return_state=True))
                if error and not isinstance(error, FailedRun):  # which stands for changes that failed
                    raise error
                return

            def write(change: Change, action: Callable[[], None]) -> BaseException | None:
                advance()
                return _failure(apply_change(change, action, return_state=True))

            apply_all(write)

    def log(self, level: int, message: str) -> None:
        """Write a line to the run's log."""
        get_run_logger().log(level, "%s", message)


@contextmanager
def open_context(environment: Environment, root: Path) -> Iterator[tuple[Context, Api]]:
    """Open the server in use: as the context in which task runs are the engine's steps, and as an API client."""
    with connected_store() as store:
        yield Context(store, PrefectShell(), environment, root), store.api


@contextmanager
def observing(context: Context) -> Iterator[PrefectFuture[Observed]]:
    """Observe the environment in the background, so that the server answers while the repository is read."""
    future = run_step.submit(f"observe {context.environment.name}", partial(read_server, context))
    load_schema_tools()  # needed next
    try:
        yield future
    finally:
        future.wait()  # the caller closes the client next


def _failure(state: State[Any]) -> BaseException | None:
    """Return the error that a task run raised, if it failed."""
    if state.is_completed():
        return None
    error: BaseException = state.result(raise_on_failure=False)
    return error
