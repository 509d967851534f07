"""Steps that only `reconcile` needs: its switch, and the branch that it may deploy."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect.runner.storage import GitRepository
from prefect.runtime import flow_run
from prefect.variables import Variable

from meta_flows.configuration import Environment, GitSource
from meta_flows.desired import sources
from meta_flows.diagnostics import refuse
from meta_flows.engine import joined
from meta_flows.models import DeployResult
from meta_flows.prefect_api.compat import resolve_block_document_references, run_coro_as_sync, url_for
from meta_flows.tasks import step

SCHEDULED = "auto-scheduled"
"""Tag of the runs that Prefect's scheduler makes."""


def switch(environment: Environment) -> str:
    """Name of the Prefect variable that suspends reconciliation while it is true."""
    return joined("reconcile-suspended", *environment.ownership)


def legacy_switch(environment: Environment) -> str:
    """The name that it had before, which could be another project's too; honoured for one version."""
    return f"reconcile-suspended-{environment.project}-{environment.name}"


def spread_out(jitter: float) -> None:
    """Let a scheduled run wait for a random time, so that those of all environments do not begin at once.

    Args:
        jitter: Longest time to wait, in seconds.
    """
    if jitter and SCHEDULED in flow_run.tags:
        time.sleep(random.uniform(0, jitter))  # noqa: S311  # nothing secret


@step("is {environment.name} suspended?")
def is_suspended(environment: Environment) -> bool:
    """Whether an operator has switched reconciliation off."""
    return any(bool(Variable.get(name, default=False)) for name in (switch(environment), legacy_switch(environment)))


def suspended(environment: Environment) -> DeployResult:
    """The result of a run that did not look."""
    return DeployResult(
        environment=environment.name,
        state="Suspended",
        message=f"variable {switch(environment)} is set",
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
    )


@contextmanager
def check_out_branch(environment: Environment, root: Path) -> Iterator[Path]:
    """The repository's folder in a fresh clone of the branch to deploy, while the context lasts.

    Raises:
        MetaFlowsError: MF521, there is no git source, no branch, or no way to it; or nothing may be deployed unasked.
    """
    if environment.require_approval:  # each tick would leave one more run behind that waits for an answer
        raise refuse("MF521", detail="the environment wants every plan to be approved")
    source = environment.source
    if not isinstance(source, GitSource):
        raise refuse("MF521", detail="the environment's source is a local folder")
    branch = environment.reconcile.branch or source.branch
    if not branch:
        raise refuse("MF521", detail="no branch is stated")
    with TemporaryDirectory() as folder:
        credentials: Any = run_coro_as_sync(resolve_block_document_references(source.credentials))
        repository = GitRepository(source.repository, branch=branch, credentials=credentials, name="checkout")
        repository.set_base_path(Path(folder))
        try:
            run_coro_as_sync(repository.pull_code())
        except RuntimeError as error:
            raise refuse("MF521", detail=f"branch {branch} cannot be cloned: {error}") from error
        yield repository.destination / sources.read_checkout(root).prefix
