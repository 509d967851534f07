"""What is done to a server: apply, verify, undo, the record of releases, the lock. Plain Python over a `Store`.

No HTTP and no Prefect: a meta-flow hands in a `Store` on the Prefect API and a `Shell` that makes task runs of the
steps; tests hand in a store in memory, in which every read and write can fail.
"""

from meta_flows.engine.apply import DONE, Result
from meta_flows.engine.lock import (
    Timing,
    clear_stale_writer_tag,
    described_writers,
    free,
    read_lock,
    write_lock,
)
from meta_flows.engine.record import ApplyResult
from meta_flows.engine.release import apply_release, record_rejection
from meta_flows.engine.session import Session, Shell, Write
from meta_flows.engine.store import (
    Limit,
    Store,
    Writer,
    deploy_lock,
    joined,
    release_name,
    unguarded,
    writer_tag,
)
from meta_flows.engine.undo import read_touched, undo

__all__ = [
    "DONE",
    "ApplyResult",
    "Limit",
    "Result",
    "Session",
    "Shell",
    "Store",
    "Timing",
    "Write",
    "Writer",
    "apply_release",
    "clear_stale_writer_tag",
    "deploy_lock",
    "described_writers",
    "free",
    "joined",
    "read_lock",
    "read_touched",
    "record_rejection",
    "release_name",
    "undo",
    "unguarded",
    "write_lock",
    "writer_tag",
]
