"""The record of a release: opened before the first write, closed with its outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import NamedTuple

from meta_flows.diagnostics import MetaFlowsError, error_summary
from meta_flows.engine.apply import Result, is_unreachable
from meta_flows.engine.session import Session
from meta_flows.models import Diagnostic, LiveResource, Ownership, Release, ReleaseState


class ApplyResult(NamedTuple):
    """How far a plan got.

    Attributes:
        release: Its record, as it was closed.
        results: How each change ended, by address.
        live: What is on the server now.
        errors: What is not as it should be.
        notes: What is worth knowing besides.
        ending: How the run ends, where that is not as hoped; a key of `reporting.RESULTS`.
        unreachable: Whether the server had stopped answering when it ended.
    """

    release: Release
    results: Mapping[str, Result]
    live: Mapping[str, LiveResource]
    errors: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    ending: str | None = None
    unreachable: bool = False


def open_release(session: Session, release: Release, abandoned: Release | None) -> None:
    """Record on the server what is about to be done and what stood there before, ahead of the first write.

    Args:
        session: Where.
        release: The record.
        abandoned: An unfinished release from which it goes on, and which it closes.
    """

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
        MetaFlowsError: MF519, we are no longer the only writer; or the server did not take it.
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
    """Whether the record says so after all: the answer may have been lost."""
    try:
        now = session.store.read_release(closed)
    except MetaFlowsError:
        return False
    return now is not None and now.state == closed.state


def closed_or_left(closing: Callable[[], Release], result: ApplyResult) -> ApplyResult:
    """Close a release; if that fails, note that it is left unfinished and which command goes on from it."""
    release = result.release
    try:
        return result._replace(release=closing())
    except MetaFlowsError as error:
        left = (
            f"the record of release {release.id} could not be closed ({error_summary(error)}): it is left unfinished; "
            f"`meta-flows rollback --environment {release.environment}` goes back to what was before it"
        )
        return result._replace(notes=(*result.notes, left), unreachable=is_unreachable(error))


def forget_old(session: Session, release: Release) -> tuple[str, ...]:
    """Delete the oldest records; what fails is a note, never a failure of the release."""
    try:
        session.store.forget_old_releases(Ownership(release.project, release.environment))
    except MetaFlowsError as error:
        return (f"old releases could not be deleted: {error_summary(error)}",)
    return ()
