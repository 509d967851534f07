"""One writer per environment, on whatever machine: a global concurrency limit with a single slot.

The slot is leased and renewed while its holder lives, so one that was killed gives it back. The limit does not tell who
holds it; the run that writes therefore carries a tag, and is touched while it lives. A slot that is taken while no live
run has the tag was leaked (the server forgets leases when it restarts) or was given to an acquire whose answer was
lost: it is freed.

A lease outlives the 60 seconds for which a whole Prefect server on SQLite can stand still: in its event loop Python's
garbage collector waits for a connection, while that waits (`busy_timeout`) for a transaction of the same event loop.

The server knows no fencing: a request of a holder that was asleep is taken although its lease ran out. So a holder
asks before each write whether it still is one: the server renews its lease, or that is young enough still. Once it was
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
    """How long things take, in seconds.

    Attributes:
        lease: How long after its last renewal the lock counts as lost.
        poll: How often a run that waits looks again.
        beat: How often a holder renews its lease and shows that it lives.
        silent: How long a holder may be silent before it counts as dead.
        nameless: How long a slot may be taken by no run: a holder needs a moment to tag its own.
    """

    lease: float = 90
    poll: float = 1
    beat: float = 15
    silent: float = 90
    nameless: float = 10

    @classmethod
    def of(cls, lease: float) -> Timing:
        """Everything in proportion to a lease."""
        return cls(lease, min(1, lease / 90), lease / 6, lease, lease / 9)


Clock = Callable[[], float]
"""Seconds since some moment; one that goes on while the machine sleeps."""


@dataclass
class Lock:
    """The lock, as its holder has it; the heartbeat and the writing thread share it.

    Attributes:
        limit_id: Id of the limit; another one takes its place when the slot is freed by `unlock`.
        lease: The lease on its slot.
        renewed: When it was acquired or last renewed.
        lost: Why we are no longer the only writer, for good; empty while we are.
    """

    store: Store
    ownership: Ownership
    run_id: str
    tags: Sequence[str]
    limit_id: str
    lease: str
    timing: Timing
    clock: Clock
    renewed: float
    lost: str = ""
    _renewing: threading.Lock = field(default_factory=threading.Lock)

    def ensure(self) -> None:
        """Make sure that we are still the only writer.

        Raises:
            MetaFlowsError: MF519, we are not: this process was asleep, the server was away for too long, or the lock
                was freed by `unlock`.
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
        a minute. A server that does not answer changes nothing: whether the lease has run out then tells its age. The
        sign of life comes last, and one that the server does not take costs nothing: it writes to the database, which
        can be busy for minutes, while leases are kept in memory.

        Args:
            insist: Wait for a renewal by another thread, and try as often as any other request is tried. Otherwise one
                attempt is made, and none while there is another one.
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
        others = _other_writers(self.store, self.ownership, self.run_id)
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
        """Wait for a renewal that is under way, and let there be no other: it would tag the run again."""
        self._renewing.acquire(timeout=self.timing.lease)

    def _is_expired(self) -> bool:
        return self._age() > self.timing.lease

    def _age(self) -> float:
        return self.clock() - self.renewed


def clear_stale_writer_tag(store: Store, ownership: Ownership, run_id: str, tags: Sequence[str]) -> None:
    """Take the tag from a run that was killed while it wrote, and has begun anew: it holds nothing yet."""
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
    """Be the only writer of an environment.

    Args:
        store: The server.
        ownership: What is to be written to.
        run_id: The flow run that writes.
        tags: Its tags.
        wait: How long to wait for another writer, in seconds.
        on_wait: Called with the news that there is one.
        timing: How long things take.
        clock: Tells the time. `time.monotonic` would stand still while the machine sleeps.
        sleep: Waits.
        heartbeat: Whether a thread renews the lease; without it, `ensure` does.

    Raises:
        MetaFlowsError: MF512, another run held it all that time.
    """
    tag = writer_tag(ownership)
    others = [other for other in tags if other != tag]
    lock = _acquired(
        store, ownership, run_id, [*others, tag], wait=wait, on_wait=on_wait, timing=timing, clock=clock, sleep=sleep
    )
    store.guard = lock.ensure
    try:
        with _beating(lock) if heartbeat else nullcontext():
            yield lock
    finally:
        store.guard = unguarded
        lock.stop_renewing()
        with suppress(MetaFlowsError):  # a run that has ended holds nothing; one that is suspended goes on
            store.tag_run(run_id, others)
        if not lock.lost:
            with suppress(MetaFlowsError):  # a lease that is not given back runs out
                store.release(lock.lease)


def _acquired(
    store: Store,
    ownership: Ownership,
    run_id: str,
    tags: Sequence[str],
    *,
    wait: float,
    on_wait: Callable[[str], None],
    timing: Timing,
    clock: Clock,
    sleep: Callable[[float], None],
) -> Lock:
    name = deploy_lock(ownership)
    deadline = clock() + wait
    seen: object = None
    since = 0.0
    while True:
        limit = store.limit(name)
        begun = clock()
        taken = limit.is_taken or _is_held_by_earlier_version(store, ownership)
        lease = None if taken else store.acquire(name, timing.lease)
        if lease:
            lock = Lock(store, ownership, run_id, tags, limit.id, lease, timing, clock, begun)
            try:
                if _tag_writer(lock):
                    for dead in _other_writers(store, ownership, run_id):  # they can't be writing: we hold the lock
                        store.mark_crashed(dead.id)
                    return lock
            except MetaFlowsError:
                with suppress(MetaFlowsError):
                    store.release(lease)
                raise
            store.release(lease)
        holders, now = _other_writers(store, ownership, run_id), clock()
        signs = (limit.id, [(writer.id, writer.updated) for writer in holders])
        if seen is None:
            on_wait(f"Waiting up to {wait:g} s for {described_writers(holders)}")
        if signs != seen:
            seen, since = signs, now
        if now - since > (timing.silent if holders else timing.nameless):
            _free(store, deploy_lock(ownership))  # an earlier version's lock could be another project's
        elif now > deadline:
            raise refuse("MF512", environment=ownership.environment, seconds=wait, holder=described_writers(holders))
        sleep(timing.poll)


def _is_held_by_earlier_version(store: Store, ownership: Ownership) -> bool:
    """Whether a run of the version before this one holds the lock by its old name."""
    limit = store.find_limit(legacy_lock(ownership))
    return limit is not None and limit.is_taken


def _tag_writer(lock: Lock) -> bool:
    """Say who we are; false if the slot was freed meanwhile by a run that could not see that yet."""
    lock.store.tag_run(lock.run_id, lock.tags)
    return lock.store.limit(deploy_lock(lock.ownership)).id == lock.limit_id


@contextmanager
def _beating(lock: Lock) -> Iterator[None]:
    """Renew a lock in the background."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(lock.timing.beat):
            with suppress(Exception):  # the writing thread meets it, too; without a heart it would lose the lock
                lock.renew()

    heart = threading.Thread(target=copy_context().run, args=(beat,), daemon=True, name="lock-heartbeat")
    heart.start()
    try:
        yield
    finally:
        stopped.set()


def read_lock(store: Store, ownership: Ownership) -> tuple[bool, list[Writer]]:
    """Return whether the slot is taken, and the runs that say they have it."""
    limits = (store.find_limit(name) for name in (deploy_lock(ownership), legacy_lock(ownership)))
    return any(limit is not None and limit.is_taken for limit in limits), store.writers(writer_tag(ownership))


def free(store: Store, ownership: Ownership) -> None:
    """Free the slot for good."""
    for name in (deploy_lock(ownership), legacy_lock(ownership)):
        _free(store, name)


def _free(store: Store, name: str) -> None:
    limit = store.find_limit(name)
    if limit is not None and limit.is_taken:
        store.delete_limit(limit.id)


def described_writers(writers: Sequence[Writer]) -> str:
    """Return who holds a lock and since when, in words."""
    names = (f"run '{writer.name}' since {writer.started[:19]}Z, {writer.link}" for writer in writers)
    return ", ".join(names) or "a run that has no tag yet"


def _other_writers(store: Store, ownership: Ownership, run_id: str) -> list[Writer]:
    return [writer for writer in store.writers(writer_tag(ownership)) if writer.id != run_id]
