"""Mapping a task over symbols: in threads, or on a Dask cluster."""

from collections.abc import Sequence
from typing import Any

from prefect import Task, get_run_logger, unmapped
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.trading.config import TradingSettings


def task_runner(use_distributed: bool) -> TaskRunner[Any]:
    """The task runner that the environment asks for; results are the same with either.

    Where prefect-dask is not installed threads do the work, and the log says so: slower is better than not at all.
    """
    if use_distributed:
        try:
            from prefect_dask.task_runners import DaskTaskRunner
        except ImportError:
            get_run_logger().warning(
                "use_distributed is set, but prefect-dask is not installed: the run goes on in threads. "
                "Install it where the worker runs (pip install prefect-dask), or set use_distributed to false"
            )
        else:
            return DaskTaskRunner(address=TradingSettings().dask_scheduler)
    return ThreadPoolTaskRunner()


def for_each_symbol(
    each: Task[..., Any], symbols: Sequence[str], *, use_distributed: bool, **same_for_all: Any
) -> dict[str, Any]:
    """Map a task over symbols and publish what came of each as a table; the name of the flow is the artifact's key.

    Raises:
        RuntimeError: Some of them failed; what the others did is done.
    """
    with task_runner(use_distributed) as runner:
        parameters = {name: unmapped(value) for name, value in same_for_all.items()}
        futures = runner.map(each, {"symbol": list(symbols), **parameters})
        outcomes = dict(zip(symbols, (future.result(raise_on_failure=False) for future in futures), strict=True))
    failed = {symbol: outcome for symbol, outcome in outcomes.items() if isinstance(outcome, BaseException)}
    table = [{"symbol": symbol, "result": str(outcome)} for symbol, outcome in outcomes.items()]
    create_table_artifact(table, key=str(flow_run.flow_name), description="What came of each symbol")
    if failed:
        reasons = "; ".join(f"{symbol}: {error}" for symbol, error in failed.items())
        raise RuntimeError(f"{len(failed)} of {len(symbols)} symbols failed: {reasons}")
    return outcomes
