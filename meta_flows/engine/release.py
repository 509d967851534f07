"""Carrying out a plan as a release: recorded before the first write, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.engine.apply import ANOTHER_FAILED, Result, apply_changes
from meta_flows.engine.record import ApplyResult, close, closed_or_left, forget_old, open_release
from meta_flows.engine.session import Session
from meta_flows.engine.store import Store
from meta_flows.engine.undo import roll_back
from meta_flows.engine.verify import verify
from meta_flows.models import Change, Diagnostic, LiveResource, Ownership, Release, Resource


def apply_release(
    session: Session,
    release: Release,
    desired: Iterable[Resource],
    *,
    released: Mapping[str, Resource],
    live: Mapping[str, LiveResource],
    abandoned: Release | None = None,
    keep_record: bool = True,
) -> ApplyResult:
    """Open a release, apply its plan, verify, delete what is to go, close it.

    A failure undoes all of it, unless the release is not all or nothing: then what succeeded stays, and the record
    says what failed. A release that has been recorded as succeeded is never undone.

    Args:
        session: Where, with the lock.
        release: Its record, complete and not saved yet.
        desired: What is to be there.
        released: What was released before, by address.
        live: What was live when it was planned, by address.
        abandoned: An unfinished release from which it goes on.
        keep_record: Whether it is a release of its own, and not the current one once more.

    Raises:
        MetaFlowsError: Nothing was written: the release could not be recorded, or we are no longer the only writer.
    """
    session.lock.ensure()
    open_release(session, release, abandoned)
    results: dict[str, Result] = {}
    changes = release.plan.changes
    deletions = [change for change in changes if change.action == "delete"]
    apply = partial(apply_changes, session, results=results, stop_at_failure=release.all_or_nothing)
    errors: tuple[Diagnostic, ...] = ()
    now = live
    try:
        apply([change for change in changes if change.action != "delete"])
        verified = verify(session, Ownership(release.project, release.environment), desired, released, live, results)
        session.lock.ensure()  # what was read is of interest only if no other run has written meanwhile
        errors, now = verified.errors, verified.live
        if _failed(results, errors):
            results |= dict.fromkeys((change.address for change in deletions), Result("NotTried", ANOTHER_FAILED))
        else:
            apply(deletions)
            now = {at: item for at, item in now.items() if results.get(at) != Result("Deleted")}
        closed = None if _failed(results, errors) else close(session, release, "succeeded")
    except MetaFlowsError as error:
        errors, closed = (*errors, *error.errors), None
    except BaseException:  # cancelled, stopped, or a defect: nothing may be left half done
        _end(session, release, results, changes, now, errors)
        raise
    if closed is None:
        return _end(session, release, results, changes, now, errors)
    return ApplyResult(closed, results, now, errors, _tidy_up(session, closed, keep_record=keep_record))


def _end(
    session: Session,
    release: Release,
    results: Mapping[str, Result],
    changes: Iterable[Change],
    live: Mapping[str, LiveResource],
    errors: tuple[Diagnostic, ...],
) -> ApplyResult:
    """End a release that did not succeed: undo it, or record what of it failed."""
    if release.all_or_nothing:
        return roll_back(session, release, results, errors)
    reason = errors[0].message if errors else ANOTHER_FAILED
    unknown = {change.address: Result("NotTried", reason) for change in changes if change.address not in results}
    ended = {**results, **unknown}
    failures = {at: result.error for at, result in ended.items() if result.error}
    if errors and not failures:  # it could not be verified: nothing of it is certain
        failures = dict.fromkeys(release.preimages, reason)
    failed = release.model_copy(update={"failures": failures})
    result = closed_or_left(partial(close, session, failed, "failed"), ApplyResult(release, ended, live, errors))
    return result if result.unreachable else result._replace(notes=(*result.notes, *forget_old(session, release)))


def _failed(results: Mapping[str, Result], errors: tuple[Diagnostic, ...]) -> bool:
    return bool(errors) or any(result.error for result in results.values())


def _tidy_up(session: Session, release: Release, *, keep_record: bool) -> tuple[str, ...]:
    """Delete what is no longer needed of the records; whatever fails is a note."""
    if keep_record:
        return forget_old(session, release)
    try:
        session.store.delete_release(release)
    except MetaFlowsError:
        return (f"the record of release {release.id}, which released nothing new, could not be deleted",)
    return ()


def record_rejection(store: Store, record: Release, answer: str) -> None:
    """Keep on the server which plan was rejected, by whom and why; it changes nothing about what is released."""
    update = {"state": "rejected", "approval": answer, "finished": record.started}
    store.save_release(record.model_copy(update=update))
