"""Change a server: apply, verify, undo, record releases, lock. Plain Python over a `Store`.

No HTTP and no Prefect: a meta-flow passes in a `Store` on the Prefect API and a `Shell` that runs each step as a task;
tests pass in an in-memory store in which every read and write can fail.
"""

from meta_flows.engine.apply import DONE, Result, Session, Shell, Write
from meta_flows.engine.lock import (
    Timing,
    clear_stale_writer_tag,
    described_writers,
    read_lock,
    release_slot,
    write_lock,
)
from meta_flows.engine.record import ApplyResult
from meta_flows.engine.release import apply_release
from meta_flows.engine.store import Limit, Store, Writer, deploy_lock, joined, release_name, unguarded, writer_tag
from meta_flows.engine.undo import undo

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
    "joined",
    "read_lock",
    "release_name",
    "release_slot",
    "undo",
    "unguarded",
    "write_lock",
    "writer_tag",
]
