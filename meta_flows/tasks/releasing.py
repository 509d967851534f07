"""Carry out a plan as a release: recorded before the first write, whole or not at all."""

from __future__ import annotations

import getpass
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from prefect import get_run_logger
from prefect.runtime import flow_run

from meta_flows import sources
from meta_flows.configuration import Environment
from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import AnyChange, LiveDeployment, Release, ReleaseState, ValidationError
from meta_flows.planning import history
from meta_flows.prefect_api import Api, plain_reason, releases, speaking_plainly
from meta_flows.prefect_api import apply as writes
from meta_flows.prefect_api import observe as reads
from meta_flows.prefect_api.lock import Lock, write_lock
from meta_flows.reporting import DONE, called
from meta_flows.tasks import step
from meta_flows.tasks.applying import ANOTHER_FAILED, Applied, apply_changes
from meta_flows.tasks.planning import Proposal
from meta_flows.tasks.verification import verify


class Carried(NamedTuple):
    """How far a plan got.

    Attributes:
        release: Its record, as it was closed.
        applied: What became of each change, by key.
        live: What is on the server now.
        errors: What is not as it should be.
        notes: What is worth knowing besides.
        ending: How the run ends, where that is not as hoped; a key of `reporting.RESULTS`.
    """

    release: Release
    applied: Mapping[str, Applied]
    live: Mapping[str, LiveDeployment]
    errors: tuple[ValidationError, ...] = ()
    notes: tuple[str, ...] = ()
    ending: str | None = None


@contextmanager
def writing(api: Api, environment: Environment) -> Iterator[Lock]:
    """Be the only writer of an environment.

    Raises:
        MetaFlowsError: MF512, another run was all the time; MF519, we are no more.
    """
    with write_lock(
        api,
        environment.project,
        environment.name,
        run_id=str(flow_run.id),
        tags=list(flow_run.tags),
        wait=environment.lock_wait,
        tell=get_run_logger().warning,
    ) as lock:
        yield lock


def carry_out(
    api: Api,
    environment: Environment,
    proposal: Proposal,
    lock: Lock,
    *,
    root: Path,
    restores: Release | None = None,
    whole: bool = True,
    keep_record: bool = True,
) -> Carried:
    """Open a release, apply its plan, verify, delete what is to go, close it; a failure takes everything back.

    Args:
        api: Client of the server.
        environment: Where it goes; with `on_failure: continue` what succeeded stays.
        proposal: What to do.
        lock: What makes us the only writer.
        root: The repository.
        restores: The release that is made current again by this.
        whole: Whether a failure takes everything back if the environment does not say otherwise.
        keep_record: Whether it is a release of its own, and not the current one once more.
    """
    whole = whole and environment.on_failure == "rollback"
    release = open_release(api, proposal, environment, root, restores)
    applied: dict[str, Applied] = {}
    try:
        write = partial(apply_changes, api, stop_at_failure=whole, before_each=lock.ensure)
        plan = proposal.plan  # the release's has what one that was left unfinished made, too
        write((*plan.work_pools, *(change for change in plan.changes if change.action != "delete")), applied)
        verified = verify(api, proposal.desired, proposal.observed.live, release, applied, plan.work_pools)
        errors = verified.errors
        deletions = [change for change in plan.changes if change.action == "delete"]
        if _failed(applied, errors):
            applied |= dict.fromkeys((change.key for change in deletions), Applied("NotTried", ANOTHER_FAILED))
        else:
            write(deletions, applied)
        if not (whole and _failed(applied, errors)):
            live = {key: item for key, item in verified.live.items() if applied.get(key) != Applied("Deleted")}
            state: ReleaseState = "failed" if _failed(applied, errors) else "succeeded"
            closed = close_release(api, release, state, applied, keep=keep_record or state == "failed")
            return Carried(closed, applied, live, errors)
    except MetaFlowsError as error:
        if not whole or error.errors[0].code == "MF519":
            raise
        errors = error.errors
    except BaseException:  # cancelled, stopped, or a defect: nothing may be left half done
        if whole and lock.is_ours():
            roll_back(api, release, applied)
        raise
    return roll_back(api, release, applied, errors)


def _failed(applied: Mapping[str, Applied], errors: tuple[ValidationError, ...]) -> bool:
    return bool(errors) or any(result.error for result in applied.values())


def roll_back(
    api: Api, release: Release, applied: Mapping[str, Applied], errors: tuple[ValidationError, ...] = ()
) -> Carried:
    """Take back what a failed release did.

    Args:
        api: Client of the server.
        release: Its record.
        applied: What became of each of its changes, as far as it got.
        errors: Why it is taken back.
    """
    undone = undo(api, release, applied)

    def after_all(change: AnyChange) -> Applied:
        taken_back = undone.applied.get(change.key)
        if taken_back and taken_back.state == "NotRestored":
            return taken_back
        if change.action == "unchanged":
            return Applied("Unchanged")
        result = applied.get(change.key, Applied("NotTried", ANOTHER_FAILED))
        return result if result.error else Applied("RolledBack")

    became = {change.key: after_all(change) for change in (*release.plan.work_pools, *release.plan.changes)}
    return undone._replace(applied=became, errors=(*errors, *undone.errors), ending=undone.ending or "RolledBack")


def undo(api: Api, release: Release, failed: Mapping[str, Applied] | None = None) -> Carried:
    """Bring everything that a release touched back to what it was before; a plan like any other.

    Args:
        api: Client of the server.
        release: The release; it may be one that was killed long ago.
        failed: What became of each of its changes, as far as that is known.
    """
    get_run_logger().warning("Undoing release %s", release.id)
    undone: dict[str, Applied] = {}
    live: Mapping[str, LiveDeployment] = {}
    surplus = ""
    try:
        plan = history.undoing(release, *read_touched(api, release))
        apply_changes(api, (*plan.work_pools, *plan.changes), undone, stop_at_failure=False)
        surplus = Applied.of(remove_created(api, release, return_state=True)).error or ""
        live, pools = read_touched(api, release)
        plan = history.undoing(release, live, pools)
        left = {change.key: _what_is_left(change, undone) for change in (*plan.work_pools, *plan.pending)}
    except MetaFlowsError as error:
        left = dict.fromkeys((*release.work_pool_preimages, *release.preimages), plain_reason(error))
    results = {**undone, **{key: Applied("NotRestored", detail) for key, detail in left.items()}}
    lost = {called(key): detail for key, detail in left.items()}
    lost |= {"the set of flows, work pools and queues": surplus} if surplus else {}
    errors = tuple(problem("MF511", what=what, detail=detail) for what, detail in lost.items())
    notes: tuple[str, ...] = ()
    try:
        release = close_release(api, release, "incomplete" if lost else "rolled-back", failed or {})
    except MetaFlowsError as error:
        notes = (f"the record of release {release.id} could not be closed: {plain_reason(error)}",)
    return Carried(release, results, live, errors, notes, "RollbackIncomplete" if lost else None)


def _what_is_left(change: AnyChange, undone: Mapping[str, Applied]) -> str:
    tried = undone.get(change.key)
    if tried and tried.error:
        return tried.error
    return ", ".join(field.path for field in change.fields) or f"it is not {DONE[change.action].lower()}"


@step("observe what release {release.id} touched")
def read_touched(api: Api, release: Release) -> tuple[dict[str, LiveDeployment], dict[str, dict[str, Any]]]:
    """Every deployment and every work pool that a release has, or may have, changed."""
    live = reads.read_deployments(api, {key.partition("/")[2] for key in release.preimages})
    pools = reads.read_work_pool_specs(api, release.work_pool_preimages)
    return {key: live[key] for key in release.preimages if key in live}, pools


@step("remove what release {release.id} brought into being")
def remove_created(api: Api, release: Release) -> None:
    """Delete its new flows, work pools and queues, unless others use them by now."""
    with speaking_plainly():
        writes.remove_unused(api, release.plan)


@step("open release")
def open_release(
    api: Api, proposal: Proposal, environment: Environment, root: Path, restores: Release | None
) -> Release:
    """Record on the server what is about to be done and what stood there before, ahead of the first write."""
    plan, observed = proposal.plan, proposal.observed
    touched = [change.key for change in plan.pending]
    release = _record(proposal, root, restores).model_copy(
        update={
            "deployments": proposal.deployments,
            "previous": {key: observed.released.get(key) for key in touched},
            "preimages": {key: observed.live.get(key) for key in touched},
            "work_pools": proposal.work_pools,
            "previous_work_pools": observed.released_work_pools,
            "work_pool_preimages": {pool.name: pool.live for pool in plan.work_pools if pool.live is not None},
        }
    )
    abandoned = observed.release if observed.release and observed.release.unfinished else None
    release = history.take_over(release, abandoned)
    releases.save_release(release)
    if abandoned:
        releases.update_release(api, abandoned.model_copy(update={"state": "failed", "finished": release.started}))
    get_run_logger().info("Release %s: %d of %d deployments change", release.id, len(touched), len(plan.changes))
    return release


@step("record rejection")
def record_rejection(proposal: Proposal, root: Path, answer: str) -> None:
    """Keep on the server which plan was rejected, by whom and why; it changes nothing about what is released."""
    record = _record(proposal, root, None)
    update = {"state": "rejected", "approval": answer, "finished": record.started}
    releases.save_release(record.model_copy(update=update))


def _record(proposal: Proposal, root: Path, restores: Release | None) -> Release:
    """Who does what, when and from which code; not yet to which deployments."""
    started = datetime.now(timezone.utc)
    code = restores or sources.read_checkout(root)
    return Release(
        id=f"{started:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}",
        project=proposal.plan.project,
        environment=proposal.plan.environment,
        by=str(flow_run.flow_name),
        started=started,
        author=f"{getpass.getuser()}@{socket.gethostname()}",
        commit=code.commit,
        dirty=code.dirty,
        flow_run_id=flow_run.id,
        restores=restores.id if restores else None,
        approval=proposal.approval,
        plan=proposal.plan,
    )


@step("close release")
def close_release(
    api: Api, release: Release, state: ReleaseState, applied: Mapping[str, Applied], *, keep: bool = True
) -> Release:
    """Record the outcome, and forget the oldest releases.

    Args:
        api: Client of the server.
        release: The release as it was opened.
        state: How it ended.
        applied: What became of each change, by key.
        keep: Whether the record is kept; one that released nothing new is not.
    """
    failures = {key: result.error for key, result in applied.items() if result.error}
    closed = release.model_copy(update={"state": state, "finished": datetime.now(timezone.utc), "failures": failures})
    with speaking_plainly():
        if keep:
            releases.update_release(api, closed)
        else:
            releases.delete_release(api, closed)
        releases.forget_old_releases(api, release.project, release.environment)
    return closed
