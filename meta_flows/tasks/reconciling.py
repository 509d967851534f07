"""Steps that only `reconcile` needs: the variable that suspends it, and the checkout of the branch that it deploys."""

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
    """Return the name of the Prefect variable that suspends reconciliation while it is true."""
    return joined("reconcile-suspended", *environment.ownership)


def legacy_switch(environment: Environment) -> str:
    """Return the variable's earlier name, which could be another project's too; still read for one version."""
    return f"reconcile-suspended-{environment.project}-{environment.name}"


def wait_for_jitter(jitter: float) -> None:
    """Let a scheduled run wait for a random time of up to `jitter` seconds, so that environments start at odd times."""
    if jitter and SCHEDULED in flow_run.tags:
        time.sleep(random.uniform(0, jitter))  # noqa: S311  # nothing secret


@step("check whether {environment.name} is suspended")
def is_suspended(environment: Environment) -> bool:
    """Return whether an operator has suspended reconciliation."""
    return any(bool(Variable.get(name, default=False)) for name in (switch(environment), legacy_switch(environment)))


def suspended(environment: Environment) -> DeployResult:
    """Return the result of a run that compared nothing."""
    return DeployResult(
        environment=environment.name,
        state="Suspended",
        message=f"variable {switch(environment)} is set",
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
    )


@contextmanager
def check_out_branch(environment: Environment, root: Path) -> Iterator[Path]:
    """Clone the branch to deploy, and yield the repository's folder in it; the clone is deleted at the end.

    Raises:
        MetaFlowsError: MF521, there is no git source, no branch, or no access to it; or every deploy needs an approval.
    """
    if environment.require_approval:  # each tick would leave one more run behind that waits for an answer
        raise refuse("MF521", detail="the environment wants every plan to be approved")
    source = environment.source
    if not isinstance(source, GitSource):
        raise refuse("MF521", detail="the environment's source is a local folder")
    branch = environment.reconcile.branch or source.branch
    if not branch:
        raise refuse("MF521", detail="no branch is declared")
    with TemporaryDirectory() as folder:
        credentials: Any = run_coro_as_sync(resolve_block_document_references(source.credentials))
        repository = GitRepository(source.repository, branch=branch, credentials=credentials, name="checkout")
        repository.set_base_path(Path(folder))
        try:
            run_coro_as_sync(repository.pull_code())
        except RuntimeError as error:
            raise refuse("MF521", detail=f"branch {branch} cannot be cloned: {error}") from error
        yield repository.destination / sources.read_checkout(root).prefix
