"""Apply changes one after the other; what the server then has decides whether a change succeeded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from meta_flows.diagnostics import MetaFlowsError, error_summary
from meta_flows.engine.lock import Lock
from meta_flows.engine.store import Store
from meta_flows.models import Change
from meta_flows.planning import difference, merge
from meta_flows.resources import TYPES

T = TypeVar("T")

DONE = {"create": "Created", "update": "Updated", "delete": "Deleted", "unchanged": "Unchanged"}
"""State of a change that succeeded, by its action; also the name of its task run's state."""

ANOTHER_FAILED = "another change failed before it"

Write = Callable[[Change, Callable[[], None]], BaseException | None]
"""Makes one change by calling a function, and returns the exception that it raised."""


class Shell(Protocol):
    """Runs steps and shows them: as task runs in Prefect, as plain calls in tests."""

    def step(self, name: str, action: Callable[[], T]) -> T:
        """Run a step under a name."""

    def changes(self, count: int, apply_all: Callable[[Write], None]) -> None:
        """Call `apply_all` with the function that makes one change; `count` changes write something."""

    def log(self, level: int, message: str) -> None:
        """Log a message at a level of `logging`."""


class Session(NamedTuple):
    """The server, the shell, and the lock that makes us the server's only writer."""

    store: Store
    shell: Shell
    lock: Lock


class Result(NamedTuple):
    """How one change ended: a value of `DONE`, or `Failed`, `NotTried`, `RolledBack`, `NotRestored` with an error."""

    state: str
    error: str | None = None


def failures(results: Mapping[str, Result]) -> dict[str, str]:
    """Return the errors of the changes that did not succeed, by address."""
    return {address: result.error for address, result in results.items() if result.error}


def apply_changes(
    session: Session, changes: Iterable[Change], results: dict[str, Result], *, stop_at_failure: bool
) -> None:
    """Apply changes one after the other, as long as we are the only writer.

    Puts each result by address into `results` at once, so that it is known even if this raises. After a failure no
    further change is tried if `stop_at_failure`; otherwise only once the server stops answering.

    Writes are not made in parallel: SQLite answers that with 503, and PostgreSQL is not faster for it.

    Raises:
        MetaFlowsError: MF519, another run may be writing.
    """
    planned = tuple(changes)
    count = sum(change.action != "unchanged" for change in planned)
    session.shell.changes(count, partial(_apply_all, session, planned, results, stop_at_failure))


def _apply_all(
    session: Session,
    planned: Collection[Change],
    results: dict[str, Result],
    stop_at_failure: bool,
    write: Write,
) -> None:
    blocked = ""
    for change in planned:
        if change.action == "unchanged":  # neither a request nor a task run: the report lists it
            results[change.address] = Result(DONE["unchanged"])
            continue
        if blocked:
            results[change.address] = Result("NotTried", blocked)
            continue
        session.lock.ensure()
        if reason := _failed_requirement(change, results):
            results[change.address] = Result("Failed", reason)
        elif error := write(change, partial(_make_change, session.store, change)):
            results[change.address] = Result("Failed", error_summary(error))
            blocked = "the server stopped answering before it" if is_unreachable(error) else ""
        else:
            results[change.address] = Result(DONE[change.action])
        if results[change.address].error and stop_at_failure:
            blocked = blocked or ANOTHER_FAILED


def _failed_requirement(change: Change, results: Mapping[str, Result]) -> str:
    """Return why a resource that this change needs could not be changed; empty if all could."""
    for address in TYPES[change.type].needs(change.target):
        if address in results and results[address].error:
            return f"its {TYPES[address.partition('/')[0]].title} is not as planned: {results[address].error}"
    return ""


def is_unreachable(error: BaseException) -> bool:
    """Return whether an error says that the server does not answer."""
    return isinstance(error, MetaFlowsError) and error.errors[0].code == "MF401"


def _make_change(store: Store, change: Change) -> None:
    """Make one change.

    A write whose answer was lost may have reached the server, which then rejects the retry. So after an error the
    server's state decides whether the change succeeded.
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
    """Return whether the server has the resource as planned; false if it cannot be read."""
    try:
        now = store.read({change.address}).get(change.address)
    except MetaFlowsError:
        return False
    if change.action == "delete" or now is None:
        return change.action == "delete" and now is None
    resource_type = TYPES[change.type]
    now = resource_type.aligned(now, change.target)
    before = change.live.spec if change.live else {}
    return not difference(resource_type, now.spec, merge(resource_type, change.target, before, now.spec))
