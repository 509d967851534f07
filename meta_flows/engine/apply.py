"""Making changes: one after the other, each judged by what the server then has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import NamedTuple

from meta_flows.diagnostics import MetaFlowsError, error_summary
from meta_flows.engine.session import Session, Write
from meta_flows.engine.store import Store
from meta_flows.models import Change, FieldChange, LiveResource
from meta_flows.planning import difference, merge
from meta_flows.resources import TYPES

DONE = {"create": "Created", "update": "Updated", "delete": "Deleted", "unchanged": "Unchanged"}
"""How a change ended that was made, by its action; the name of its task run's state."""

ANOTHER_FAILED = "another change failed before it"


class Result(NamedTuple):
    """How one change ended.

    Attributes:
        state: One of `DONE`, or `Failed`, `NotTried`, `RolledBack`, `NotRestored`.
        error: Why it failed, if it did.
    """

    state: str
    error: str | None = None


def apply_changes(
    session: Session,
    changes: Iterable[Change],
    results: dict[str, Result],
    *,
    stop_at_failure: bool,
) -> None:
    """Carry out changes one after the other, as long as we are the only writer.

    Writes are not made in parallel: SQLite answers that with 503, and PostgreSQL is not faster for it.

    Args:
        session: Where to.
        changes: What to do, in order.
        results: Receives how each change ended by address, so that it is known even if this raises.
        stop_at_failure: Try nothing more once something has failed; otherwise only once the server does not answer.

    Raises:
        MetaFlowsError: MF519, another run may write by now.
    """
    planned = tuple(changes)
    count = sum(change.action != "unchanged" for change in planned)
    carry_out = partial(_apply_all, session, planned, results, stop_at_failure)
    session.shell.changes(count, carry_out)


def _apply_all(
    session: Session,
    planned: Collection[Change],
    results: dict[str, Result],
    stop_at_failure: bool,
    write: Write,
) -> None:
    stopped = ""
    for change in planned:
        if change.action == "unchanged":  # neither a request nor a task run: the report lists it
            results[change.address] = Result(DONE["unchanged"])
            continue
        if stopped:
            results[change.address] = Result("NotTried", stopped)
            continue
        session.lock.ensure()
        failed = [
            f"its {TYPES[address.partition('/')[0]].title} is not as planned: {reason}"
            for address in TYPES[change.type].needs(change.target)
            if (reason := results.get(address, Result("")).error)
        ]
        if failed:
            results[change.address] = Result("Failed", failed[0])
        elif error := write(change, partial(make_change, session.store, change)):
            results[change.address] = Result("Failed", error_summary(error))
            stopped = "the server stopped answering before it" if is_unreachable(error) else ""
        else:
            results[change.address] = Result(DONE[change.action])
        if results[change.address].error and stop_at_failure:
            stopped = stopped or ANOTHER_FAILED


def is_unreachable(error: BaseException) -> bool:
    """Whether an error says that the server does not answer."""
    return isinstance(error, MetaFlowsError) and error.errors[0].code == "MF401"


def make_change(store: Store, change: Change) -> None:
    """Make one change.

    A write whose answer was lost may have happened, and its repetition is refused then. So after a failure it is the
    server that says whether it is as planned.
    """
    try:
        if change.live is None:
            store.create(change)
        elif change.action == "delete":
            store.delete(change.live)
        else:
            store.update(change.live, change.target)
    except MetaFlowsError:
        if not _is_made(store, change):
            raise


def _is_made(store: Store, change: Change) -> bool:
    """Whether the server has it as planned; false if it does not say."""
    try:
        now = store.read({change.address}).get(change.address)
    except MetaFlowsError:
        return False
    if change.action == "delete" or now is None:
        return change.action == "delete" and now is None
    return not remaining(change, now)


def remaining(change: Change, now: LiveResource) -> tuple[FieldChange, ...]:
    """Return in what a resource is not as planned; what was not planned does not count."""
    resource_type = TYPES[change.type]
    now = resource_type.aligned(now, change.target)
    before = change.live.spec if change.live else {}
    return difference(resource_type, now.spec, merge(resource_type, change.target, before, now.spec))
