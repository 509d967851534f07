"""One writer per environment, on whatever machine: a global concurrency limit with a single slot.

The slot is leased, and the lease renewed while its holder lives, so a killed holder loses it. The limit does not record
who holds it; the run that writes therefore carries a tag, and is touched while it lives. A slot that is taken while no
live run has the tag was leaked (the server forgets leases when it restarts) or was given to an acquire whose answer was
lost: it is freed.

A lease outlives the 60 seconds for which a whole Prefect server on SQLite can stand still: in its event loop Python's
garbage collector waits for a connection, while that waits (`busy_timeout`) for a transaction of the same event loop.

The server has no fencing: it accepts a request of a holder that was asleep although its lease ran out. So a holder
checks before each write that it still is one: the server renews its lease, or the lease is young enough. Once it is
not, it never writes again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import NamedTuple

from meta_flows.diagnostics import MetaFlowsError, refuse
from meta_flows.engine.store import Store, Writer, deploy_lock, legacy_lock, unguarded, writer_tag
from meta_flows.models import Ownership


class Timing(NamedTuple):
    """Durations, in seconds.

    Attributes:
        lease: Age from which on a lease that was not renewed is lost.
        poll: Time between two looks of a run that waits.
        beat: Time between two renewals by the holder.
        silent: Silence after which a holder is taken for dead.
        nameless: Time for which a slot may be taken without a tagged run: a holder needs a moment to tag its own.
    """

    lease: float = 90
    poll: float = 1
    beat: float = 15
    silent: float = 90
    nameless: float = 10

    @classmethod
    def of(cls, lease: float) -> Timing:
        """Return all durations in proportion to a lease."""
        return cls(lease, min(1, lease / 90), lease / 6, lease, lease / 9)


Clock = Callable[[], float]
"""Returns seconds since some moment, and goes on while the machine sleeps."""


@dataclass
class Lock:
    """The lock, as its holder sees it; the heartbeat and the writing thread share it.

    Attributes:
        limit_id: Id of the limit; `unlock` replaces the limit by another one.
        lease: Id of the lease on its slot.
        renewed: Time of the acquisition or of the last renewal.
        lost: Why we are no longer the only writer, for good; empty while we are.
    """

    store: Store
    ownership: Ownership
    run_id: str
    tags: Sequence[str]
    timing: Timing
    clock: Clock
    limit_id: str = ""
    lease: str = ""
    renewed: float = 0
    lost: str = ""
    _renewing: threading.Lock = field(default_factory=threading.Lock)

    def try_to_acquire(self) -> bool:
        """Take the slot if it is free, tag our run, and mark dead runs that still carry the tag as crashed."""
        name = deploy_lock(self.ownership)
        limit, begun = self.store.limit(name), self.clock()
        self.limit_id = limit.id
        if limit.is_taken or _is_taken(self.store, legacy_lock(self.ownership)):  # the name in the version before
            return False
        lease = self.store.acquire(name, self.timing.lease)
        if lease is None:
            return False
        try:
            self.store.tag_run(self.run_id, self.tags)
            if self.store.limit(name).id == limit.id:
                self.lease, self.renewed = lease, begun
                for dead in self.other_writers():  # they can't be writing: we hold the lock
                    self.store.mark_crashed(dead.id)
                return True
        except MetaFlowsError:
            with suppress(MetaFlowsError):
                self.store.release(lease)
            raise
        self.store.release(lease)  # another run freed the slot before it could see our tag
        return False

    def ensure(self) -> None:
        """Make sure that we are still the only writer.

        Raises:
            MetaFlowsError: MF519, we are not: this process was asleep, the server was away for too long, or `unlock`
                freed the lock.
        """
        if self._is_expired():
            self.renew(insist=True)
        elif self._age() > self.timing.beat:
            self.renew()
        if not self.lost and self._is_expired():
            self.lost = f"the server renewed it last {self._age():.0f} s ago"
        if self.lost:
            raise refuse("MF519", environment=self.ownership.environment, detail=self.lost)

    def renew(self, *, insist: bool = False) -> None:
        """Renew the lease and show that this run lives, unless another run holds the slot.

        A lease that the server renews was never given to another run, however old it is: a server can stand still for
        a minute. If the server does not answer nothing changes: the lease's age then decides whether it has run out.
        The sign of life comes last, and may fail: it writes to the database, which can be busy for minutes, while
        leases are kept in memory.

        With `insist` it waits for a renewal by another thread, and retries as often as any request. Otherwise it makes
        one attempt, and none while another thread renews.
        """
        if not self._renewing.acquire(timeout=self.timing.lease if insist else 0):
            return
        try:
            with nullcontext() if insist else self.store.briefly(self.timing.beat):
                self._renew()
        except MetaFlowsError:
            return
        finally:
            self._renewing.release()

    def _renew(self) -> None:
        if self.lost:
            return
        begun = self.clock()
        renewed = self.store.renew(self.lease, self.timing.lease)
        limit = self.store.find_limit(deploy_lock(self.ownership))
        others = self.other_writers()
        if others:
            self.lost = f"it is held by {described_writers(others)}"
        elif limit is None or limit.id != self.limit_id:
            self.lost = "it was freed, by `unlock` or by a run to which this one seemed dead"
        elif not renewed:
            self.lost = "its lease has run out"
        else:
            self.renewed = begun
            self.store.tag_run(self.run_id, self.tags)

    def stop_renewing(self) -> None:
        """Wait for a renewal in progress, and prevent any further one: it would tag the run again."""
        self._renewing.acquire(timeout=self.timing.lease)

    def other_writers(self) -> list[Writer]:
        """Return the other running runs that carry the writer's tag."""
        return [writer for writer in self.store.writers(writer_tag(self.ownership)) if writer.id != self.run_id]

    def _is_expired(self) -> bool:
        return self._age() > self.timing.lease

    def _age(self) -> float:
        return self.clock() - self.renewed


def clear_stale_writer_tag(store: Store, ownership: Ownership, run_id: str, tags: Sequence[str]) -> None:
    """Remove the tag of a run that was killed while it wrote and has started again: it holds no lock yet."""
    tag = writer_tag(ownership)
    if tag in tags:
        store.tag_run(run_id, [other for other in tags if other != tag])


@contextmanager
def write_lock(
    store: Store,
    ownership: Ownership,
    *,
    run_id: str,
    tags: Sequence[str],
    wait: float,
    on_wait: Callable[[str], None],
    timing: Timing = Timing(),
    clock: Clock = time.time,
    sleep: Callable[[float], None] = time.sleep,
    heartbeat: bool = True,
) -> Iterator[Lock]:
    """Hold the lock of an environment for the flow run `run_id`, which has these tags.

    Waits up to `wait` seconds for another writer, and calls `on_wait` once with a message if there is one. A thread
    renews the lease; without `heartbeat` only `Lock.ensure` does. The default clock is not `time.monotonic`, which
    stands still while the machine sleeps.

    Raises:
        MetaFlowsError: MF512, another run held it all that time.
    """
    tag = writer_tag(ownership)
    other_tags = [other for other in tags if other != tag]
    lock = Lock(store, ownership, run_id, [*other_tags, tag], timing, clock)
    _acquire(lock, wait, on_wait, sleep)
    store.guard = lock.ensure
    try:
        with _heartbeat(lock) if heartbeat else nullcontext():
            yield lock
    finally:
        store.guard = unguarded
        lock.stop_renewing()
        with suppress(MetaFlowsError):  # a run that has ended holds nothing; one that is suspended goes on
            store.tag_run(run_id, other_tags)
        if not lock.lost:
            with suppress(MetaFlowsError):  # a lease that is not released runs out
                store.release(lock.lease)


def _acquire(lock: Lock, wait: float, on_wait: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Acquire a lock, after waiting for other writers; free the slot of a holder that gives no sign of life."""
    timing, deadline = lock.timing, lock.clock() + wait
    seen: object = None
    since = 0.0
    while not lock.try_to_acquire():
        holders, now = lock.other_writers(), lock.clock()
        signs_of_life = (lock.limit_id, [(writer.id, writer.updated) for writer in holders])
        if seen is None:
            on_wait(f"Waiting up to {wait:g} s for {described_writers(holders)}")
        if signs_of_life != seen:
            seen, since = signs_of_life, now
        if now - since > (timing.silent if holders else timing.nameless):
            _delete_taken(lock.store, deploy_lock(lock.ownership))  # the old lock could be another project's
        elif now > deadline:
            environment, holder = lock.ownership.environment, described_writers(holders)
            raise refuse("MF512", environment=environment, seconds=wait, holder=holder)
        sleep(timing.poll)


@contextmanager
def _heartbeat(lock: Lock) -> Iterator[None]:
    """Renew a lock in the background."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(lock.timing.beat):
            with suppress(Exception):  # the writing thread meets it, too; without a heartbeat it would lose the lock
                lock.renew()

    threading.Thread(target=copy_context().run, args=(beat,), daemon=True, name="lock-heartbeat").start()
    try:
        yield
    finally:
        ended.set()


def read_lock(store: Store, ownership: Ownership) -> tuple[bool, list[Writer]]:
    """Return whether the slot is taken, and the runs that carry the writer's tag."""
    taken = any(_is_taken(store, name) for name in (deploy_lock(ownership), legacy_lock(ownership)))
    return taken, store.writers(writer_tag(ownership))


def release_slot(store: Store, ownership: Ownership) -> None:
    """Free the slot of any holder, which then never writes again."""
    for name in (deploy_lock(ownership), legacy_lock(ownership)):
        _delete_taken(store, name)


def _is_taken(store: Store, name: str) -> bool:
    limit = store.find_limit(name)
    return limit is not None and limit.is_taken


def _delete_taken(store: Store, name: str) -> None:
    """Delete a limit whose slot is taken, and with it the lease."""
    limit = store.find_limit(name)
    if limit is not None and limit.is_taken:
        store.delete_limit(limit.id)


def described_writers(writers: Sequence[Writer]) -> str:
    """Return the names of the runs that hold a lock, and since when."""
    names = (f"run '{writer.name}' since {writer.started[:19]}Z, {writer.link}" for writer in writers)
    return ", ".join(names) or "a run that has no tag yet"
