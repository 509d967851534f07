"""Undo a release that failed or was left unfinished: plan and apply the way back to its pre-images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from meta_flows.diagnostics import MetaFlowsError, diagnostic, error_summary, refuse
from meta_flows.engine.apply import ANOTHER_FAILED, DONE, Result, Session, apply_changes, failures, is_unreachable
from meta_flows.engine.record import ApplyResult, close_or_leave
from meta_flows.engine.store import Store
from meta_flows.models import Change, Diagnostic, LiveResource, Release
from meta_flows.planning.history import undo_plan
from meta_flows.resources import TYPES, described


def undo(session: Session, release: Release) -> ApplyResult:
    """Restore everything that a release touched, even a release that was killed long ago.

    Nothing is written unless we hold the lock and the release's own record says that it is unfinished: otherwise
    another run has continued from it.

    Returns:
        The outcome; never raises a `MetaFlowsError`. Each resource that could not be restored is an error of it, and
        the record then stays unfinished, so that the next command continues from it.
    """
    session.shell.log(logging.WARNING, f"Undoing release {release.id}")
    results: dict[str, Result] = {}
    live: dict[str, LiveResource] = {}
    skipped: tuple[str, ...] = ()
    try:
        session.lock.ensure()
        _ensure_unfinished(session.store, release)
        touched = partial(session.store.read, release.preimages.keys())
        plan, skipped = undo_plan(release, session.shell.step(f"observe what release {release.id} touched", touched))
        apply_changes(session, plan.changes, results, stop_at_failure=False)
        not_removed = _remove_created(session, release)
        live = touched()
        left = failures(results)
        for change in undo_plan(release, live)[0].pending:
            left.setdefault(change.address, _remaining(change))
        errors = _not_restored({described(address): detail for address, detail in left.items()} | not_removed)
    except MetaFlowsError as error:
        unknown = (address for address in release.preimages if address not in results)
        left = failures(results) | dict.fromkeys(unknown, error_summary(error))
        if error.errors[0].code == "MF519":
            errors = error.errors
        elif is_unreachable(error):  # one message for all of it
            errors = _not_restored({f"what release {release.id} has changed": error_summary(error)})
        else:
            errors = _not_restored({described(address): detail for address, detail in left.items()})
    ended = results | {address: Result("NotRestored", detail) for address, detail in left.items()}
    undone = ApplyResult(release, ended, live, errors, skipped, "RollbackIncomplete" if errors else None)
    if errors and errors[0].code == "MF519":  # another run may write the record by now
        return undone
    return close_or_leave(session, undone, "incomplete" if errors else "rolled-back")


def roll_back(
    session: Session, release: Release, results: Mapping[str, Result], errors: tuple[Diagnostic, ...]
) -> ApplyResult:
    """Undo a release that failed, given the results of its changes so far and the errors for which it is undone."""
    undone = undo(session, release.model_copy(update={"failures": failures(results)}))

    def final_result(change: Change) -> Result:
        restored = undone.results.get(change.address)
        if restored and restored.state == "NotRestored":
            return restored
        if change.action == "unchanged":
            return Result("Unchanged")
        result = results.get(change.address, Result("NotTried", ANOTHER_FAILED))
        return result if result.error else Result("RolledBack")

    ended = {change.address: final_result(change) for change in release.plan.changes}
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


def _remove_created(session: Session, release: Release) -> dict[str, str]:
    """Delete the flows, work pools and queues that a release created; return what could not be deleted, and why."""
    created = [address.split("/", 1) for address, preimage in release.preimages.items() if preimage is None]
    pools = [key for type_name, key in created if not TYPES[type_name].prunable]
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


def _remaining(change: Change) -> str:
    """Return the fields that an undo was to change and did not, or that the whole change is still to be made."""
    return ", ".join(field.path for field in change.fields) or f"it is not {DONE[change.action].lower()}"


def _not_restored(details: Mapping[str, str]) -> tuple[Diagnostic, ...]:
    return tuple(diagnostic("MF511", what=what, detail=detail) for what, detail in details.items())
