"""The record of a release: opened before the first write, closed with its outcome."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import NamedTuple

from meta_flows.diagnostics import MetaFlowsError, error_summary
from meta_flows.engine.apply import Result, Session, is_unreachable
from meta_flows.models import Diagnostic, LiveResource, Ownership, Release, ReleaseState


class ApplyResult(NamedTuple):
    """How applying or undoing a release ended.

    Attributes:
        release: Its record, as it was closed.
        results: Result of each change, by address.
        live: Resources on the server afterwards, by address.
        errors: What failed, and what is not as planned.
        ending: Ending of the run, a key of `reporting.RESULTS`; None if the release succeeded or recorded its failures.
        unreachable: Whether the server had stopped answering at the end.
    """

    release: Release
    results: Mapping[str, Result]
    live: Mapping[str, LiveResource]
    errors: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    ending: str | None = None
    unreachable: bool = False


def open_release(session: Session, release: Release, abandoned: Release | None) -> None:
    """Save the record of a release before its first write, and close the unfinished release that it continues."""

    def save() -> None:
        session.store.save_release(release)
        if abandoned:
            unknown = dict.fromkeys(abandoned.previous, "the run that was to change it ended before it said how")
            closed = {"state": "failed", "finished": release.started, "failures": unknown}
            session.store.update_release(abandoned.model_copy(update=closed))

    session.shell.step("open release", save)
    session.shell.log(logging.INFO, f"Release {release.id}: {len(release.plan.pending)} changes")


def close(session: Session, release: Release, state: ReleaseState) -> Release:
    """Record how a release ended.

    Raises:
        MetaFlowsError: MF519, we are no longer the only writer; or the server did not save the record.
    """
    session.lock.ensure()
    closed = release.model_copy(update={"state": state, "finished": datetime.now(timezone.utc)})
    try:
        session.shell.step("close release", lambda: session.store.update_release(closed))
    except MetaFlowsError:
        if not _is_closed(session, closed):
            raise
    return closed


def _is_closed(session: Session, closed: Release) -> bool:
    """Return whether the server has the closed record: only the answer to saving it may have been lost."""
    try:
        now = session.store.read_release(closed)
    except MetaFlowsError:
        return False
    return now is not None and now.state == closed.state


def close_or_leave(session: Session, result: ApplyResult, state: ReleaseState) -> ApplyResult:
    """Close a release; if that fails, add a note that it is left unfinished and which command continues from it."""
    release = result.release
    try:
        return result._replace(release=close(session, release, state))
    except MetaFlowsError as error:
        left = (
            f"the record of release {release.id} could not be closed ({error_summary(error)}): it is left unfinished; "
            f"`meta-flows rollback --environment {release.environment}` goes back to what was before it"
        )
        return result._replace(notes=(*result.notes, left), unreachable=is_unreachable(error))


def delete_old_records(session: Session, release: Release, *, keep: bool = True) -> tuple[str, ...]:
    """Delete the oldest records, or the record of this release unless it is to be kept; return errors as notes."""
    try:
        if keep:
            session.store.forget_old_releases(Ownership(release.project, release.environment))
        else:
            session.store.delete_release(release)
    except MetaFlowsError as error:
        if keep:
            return (f"old releases could not be deleted: {error_summary(error)}",)
        return (f"the record of release {release.id}, which released nothing new, could not be deleted",)
    return ()
