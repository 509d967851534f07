"""Undoing: a release that failed, or was left unfinished, becomes what stood there before; a plan like any other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from meta_flows.diagnostics import MetaFlowsError, diagnostic, error_summary, refuse
from meta_flows.engine.apply import ANOTHER_FAILED, DONE, Result, apply_changes, is_unreachable
from meta_flows.engine.record import ApplyResult, close, closed_or_left
from meta_flows.engine.session import Session
from meta_flows.engine.store import Store
from meta_flows.models import Change, Diagnostic, LiveResource, Release
from meta_flows.planning.history import Undo, undo_plan
from meta_flows.resources import TYPES, described


def read_touched(store: Store, release: Release) -> dict[str, LiveResource]:
    """Return every resource that a release has, or may have, changed, by address."""
    return store.read(release.preimages.keys()) if release.preimages else {}


def undo(session: Session, release: Release) -> ApplyResult:
    """Bring everything that a release touched back to what it was before.

    Nothing is written unless we hold the lock and the release's own record still says that it is unfinished: otherwise
    another run has gone on from it.

    Args:
        session: Where, with the lock.
        release: The release; it may be one that was killed long ago.

    Returns:
        How that ended; never raises a `MetaFlowsError`. Whatever could not be undone is an error of it, and the record
        then stays unfinished, so that the next command goes on from it.
    """
    session.shell.log(logging.WARNING, f"Undoing release {release.id}")
    results: dict[str, Result] = {}
    live: Mapping[str, LiveResource] = {}
    kept: tuple[str, ...] = ()
    try:
        session.lock.ensure()
        _ensure_unfinished(session.store, release)
        plan, kept = _plan(session, release)
        apply_changes(session, plan.changes, results, stop_at_failure=False)
        surplus = _remove_created(session, release)
        live = read_touched(session.store, release)
        left = {at: result.error for at, result in results.items() if result.error}
        left |= {change.address: _what_is_left(change, results) for change in undo_plan(release, live).plan.pending}
        lost = {described(at): detail for at, detail in left.items()} | surplus
    except MetaFlowsError as error:
        left = {at: result.error for at, result in results.items() if result.error}
        unknown = [at for at in release.preimages if at not in results]
        left |= dict.fromkeys(unknown, error_summary(error))
        lost = {described(at): detail for at, detail in left.items()}
        if is_unreachable(error):  # one message says it for all
            lost = {f"what release {release.id} has changed": error_summary(error)}
        if error.errors[0].code == "MF519":
            return ApplyResult(release, _as_results(results, left), live, error.errors, kept, "RollbackIncomplete")
    errors = tuple(diagnostic("MF511", what=what, detail=detail) for what, detail in lost.items())
    ending = "RollbackIncomplete" if lost else None
    undone = ApplyResult(release, _as_results(results, left), live, errors, kept, ending)
    return closed_or_left(partial(close, session, release, "incomplete" if lost else "rolled-back"), undone)


def roll_back(
    session: Session, release: Release, results: Mapping[str, Result], errors: tuple[Diagnostic, ...] = ()
) -> ApplyResult:
    """Undo a release that failed.

    Args:
        session: Where, with the lock.
        release: Its record.
        results: How each of its changes ended, as far as it got.
        errors: Why it is undone.
    """
    failures = {at: result.error for at, result in results.items() if result.error}
    undone = undo(session, release.model_copy(update={"failures": failures}))

    def after_all(change: Change) -> Result:
        now = undone.results.get(change.address)
        if now and now.state == "NotRestored":
            return now
        if change.action == "unchanged":
            return Result("Unchanged")
        result = results.get(change.address, Result("NotTried", ANOTHER_FAILED))
        return result if result.error else Result("RolledBack")

    ended = {change.address: after_all(change) for change in release.plan.changes}
    known = {error.message for error in errors}
    more = tuple(error for error in undone.errors if error.message not in known)
    return undone._replace(results=ended, errors=(*errors, *more), ending=undone.ending or "RolledBack")


def _ensure_unfinished(store: Store, release: Release) -> None:
    """Make sure that no other run has closed a release meanwhile.

    Raises:
        MetaFlowsError: MF519, one has: it held the lock after us.
    """
    now = store.read_release(release)
    if now is None or not now.unfinished:
        detail = f"another run has gone on from release {release.id}"
        raise refuse("MF519", environment=release.environment, detail=detail)


def _plan(session: Session, release: Release) -> Undo:
    name = f"observe what release {release.id} touched"
    return undo_plan(release, session.shell.step(name, partial(read_touched, session.store, release)))


def _remove_created(session: Session, release: Release) -> dict[str, str]:
    """Delete the flows, work pools and queues that a release brought into being; return what went wrong."""
    created = [at.split("/", 1) for at, image in release.preimages.items() if image is None]
    pools = [key for name, key in created if not TYPES[name].prunable]
    if not (pools or release.plan.work_queues or release.plan.flows):
        return {}
    remove = partial(session.store.remove_unused, pools, release.plan.work_queues, release.plan.flows)
    try:
        session.lock.ensure()
        session.shell.step(f"remove what release {release.id} brought into being", remove)
    except MetaFlowsError as error:
        if error.errors[0].code == "MF519":
            raise
        return {"the set of flows, work pools and queues": error_summary(error)}
    return {}


def _what_is_left(change: Change, results: Mapping[str, Result]) -> str:
    tried = results.get(change.address)
    if tried and tried.error:
        return tried.error
    return ", ".join(field.path for field in change.fields) or f"it is not {DONE[change.action].lower()}"


def _as_results(results: Mapping[str, Result], left: Mapping[str, str | None]) -> dict[str, Result]:
    return {**results, **{at: Result("NotRestored", detail) for at, detail in left.items()}}
