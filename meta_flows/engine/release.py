"""Apply a plan as a release: recorded before the first write, verified, and undone as a whole if anything fails."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from logging import INFO

from meta_flows.diagnostics import MetaFlowsError, diagnostic
from meta_flows.engine.apply import ANOTHER_FAILED, DONE, Result, Session, apply_changes, failures
from meta_flows.engine.record import ApplyResult, close, close_or_leave, delete_old_records, open_release
from meta_flows.engine.undo import roll_back
from meta_flows.models import Diagnostic, LiveResource, Ownership, Release, Resource
from meta_flows.planning import make_plan
from meta_flows.resources import described


def verify(
    session: Session,
    release: Release,
    released: Mapping[str, Resource],
    before: Mapping[str, LiveResource],
    results: Mapping[str, Result],
) -> tuple[dict[str, LiveResource], tuple[Diagnostic, ...]]:
    """Read everything that was written, and plan again: a release has succeeded when that plan is empty.

    Returns:
        The live resources by address, and an error for each that is not as planned.
    """
    ownership = Ownership(release.project, release.environment)
    written = [address for address, result in results.items() if result != Result(DONE["unchanged"])]
    applied = [
        release.resources[address].model_copy(update={"replaces": None})
        for address, result in results.items()
        if not result.error
    ]

    def check() -> tuple[dict[str, LiveResource], tuple[Diagnostic, ...]]:
        live = {address: item for address, item in before.items() if address not in written}
        live |= session.store.read(written)
        plan = make_plan(applied, released, live, ownership, default=session.store.default_job_template)
        errors = (
            diagnostic(
                "MF502",
                what=described(change.address),
                detail=", ".join(field.path for field in change.fields) if change.live else "it is missing",
            )
            for change in plan.pending
        )
        return live, (*errors, *plan.refused)

    live, errors = session.shell.step(f"verify {ownership.environment}", check)
    session.shell.log(INFO, f"{len(applied) - len(errors)} of {len(results)} resources are as planned")
    return live, errors


def apply_release(
    session: Session,
    release: Release,
    *,
    released: Mapping[str, Resource],
    live: Mapping[str, LiveResource],
    abandoned: Release | None = None,
    keep_record: bool = True,
) -> ApplyResult:
    """Save a release's record, apply its plan, verify, apply the deletions, and close the record.

    It was planned from what was `released` before and what was `live`, and continues an `abandoned` release. Without
    `keep_record` the record is deleted after success: the release repeats the current one.

    A failure undoes the whole release, unless the release is not all or nothing: then what succeeded stays, and the
    record lists what failed. A release that is recorded as succeeded is never undone.

    Raises:
        MetaFlowsError: Nothing was written: the release could not be recorded, or we are no longer the only writer.
    """
    session.lock.ensure()
    open_release(session, release, abandoned)
    results: dict[str, Result] = {}
    deletions = [change for change in release.plan.changes if change.action == "delete"]
    apply = partial(apply_changes, session, results=results, stop_at_failure=release.all_or_nothing)
    errors: tuple[Diagnostic, ...] = ()
    now = live
    try:
        apply([change for change in release.plan.changes if change.action != "delete"])
        verified, differences = verify(session, release, released, live, results)
        session.lock.ensure()  # what was read holds only if no other run has written meanwhile
        errors, now = differences, verified
        if errors or failures(results):
            results |= dict.fromkeys((change.address for change in deletions), Result("NotTried", ANOTHER_FAILED))
        else:
            apply(deletions)
            now = {address: item for address, item in now.items() if results.get(address) != Result("Deleted")}
        closed = None if errors or failures(results) else close(session, release, "succeeded")
    except MetaFlowsError as error:
        errors, closed = (*errors, *error.errors), None
    except BaseException:  # cancelled, stopped, or a defect: nothing may be left half done
        _end(session, release, results, now, errors)
        raise
    if closed is None:
        return _end(session, release, results, now, errors)
    return ApplyResult(closed, results, now, errors, delete_old_records(session, closed, keep=keep_record))


def _end(
    session: Session,
    release: Release,
    results: Mapping[str, Result],
    live: Mapping[str, LiveResource],
    errors: tuple[Diagnostic, ...],
) -> ApplyResult:
    """End a release that did not succeed: undo it, or record which of its changes failed."""
    if release.all_or_nothing:
        return roll_back(session, release, results, errors)
    reason = errors[0].message if errors else ANOTHER_FAILED
    ended = {change.address: Result("NotTried", reason) for change in release.plan.changes} | dict(results)
    failed = failures(ended)
    if errors and not failed:  # it could not be verified: nothing of it is certain
        failed = dict.fromkeys(release.preimages, reason)
    recorded = release.model_copy(update={"failures": failed})
    result = close_or_leave(session, ApplyResult(recorded, ended, live, errors), "failed")
    if result.unreachable:
        return result
    return result._replace(notes=(*result.notes, *delete_old_records(session, release)))
