"""Carrying out a proposal as a release: approve it, take the lock, propose again, apply."""

from __future__ import annotations

import getpass
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial

from prefect import get_run_logger
from prefect.runtime import flow_run

from meta_flows import engine, proposals
from meta_flows.configuration.settings import settings
from meta_flows.desired import sources
from meta_flows.engine import ApplyResult, Session
from meta_flows.models import Release
from meta_flows.proposals import Context, Proposal, Revise


@contextmanager
def writing(context: Context) -> Iterator[Session]:
    """Be the only writer of an environment.

    Raises:
        MetaFlowsError: MF512, another run was all the time.
    """
    environment = context.environment
    with engine.write_lock(
        context.store,
        environment.ownership,
        run_id=str(flow_run.id),
        tags=list(flow_run.tags),
        wait=environment.lock_wait,
        on_wait=get_run_logger().warning,
        timing=engine.Timing.of(settings().deploy_lock_seconds),
    ) as lock:
        yield Session(context.store, context.shell, lock)


def carry_out(
    context: Context, proposal: Proposal, approve: Revise, propose: Revise, **options: Revise
) -> tuple[Proposal, ApplyResult | None]:
    """Carry out a proposal as this flow run, if it is worth it; see `proposals.apply_proposal`.

    Raises:
        MetaFlowsError: Nothing was done: it may not be, or another run held the lock all the time.
    """
    lock, record = partial(writing, context), partial(_record, context)
    return proposals.apply_proposal(context, proposal, approve, propose, lock, record, **options)


def _record(context: Context, proposal: Proposal) -> Release:
    """Who does what, when and from which code; not yet to which resources."""
    started = datetime.now(timezone.utc)
    code = proposal.restores or sources.read_checkout(context.root)
    return Release(
        id=f"{started:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}",
        project=proposal.plan.project,
        environment=proposal.plan.environment,
        by=str(flow_run.flow_name),
        all_or_nothing=proposal.all_or_nothing and context.environment.on_failure == "rollback",
        started=started,
        author=f"{getpass.getuser()}@{socket.gethostname()}",
        commit=code.commit,
        dirty=code.dirty,
        flow_run_id=flow_run.id,
        restores=proposal.restores.id if proposal.restores else None,
        approval=proposal.approval,
        plan=proposal.plan,
    )
