"""Errors of ours in a run's log as people should read them: what, where, why and what to do, and no traceback."""

from __future__ import annotations

import logging

from meta_flows.errors import MetaFlowsError


class _Plain(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MetaFlowsError):
            record.msg, record.args, record.exc_info = "%s", (str(error),), None
        return True


def speak_plainly() -> None:
    """Let the loggers of Prefect's runs, to which its engine tells what a flow raised, do so."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Plain) for known in logger.filters):
            logger.addFilter(_Plain())
