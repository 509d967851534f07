"""Judge the health of deployments from what was observed of each; no request is made here.

| status | action of the person on call |
| --- | --- |
| Unhealthy | act now: due runs do not start, or none succeeds |
| Degraded | look in the morning: something is paused or not as it should be, without harm so far |
| Progressing | wait: the scheduler or a first worker has not acted yet |
| Unknown | look again: it could not be read |
| Healthy | none |
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic, FinishedRun, Health, Model

SETTLING = timedelta(seconds=90)
"""Time that the server may take to schedule runs after a change, and a worker to poll: both look once a minute."""

RUNS = 3
"""Number of last runs that are considered."""

GRAVITY = ("Unhealthy", "Degraded", "Progressing", "Unknown", "Healthy")
"""The statuses, worst first."""

Status = Literal["Healthy", "Progressing", "Degraded", "Unhealthy", "Unknown"]
Reason = tuple[Status, Diagnostic]


class ScheduleFacts(Model):
    """One live schedule.

    Attributes:
        declared_active: Whether the release declares it, and does not pause it.
        due: Start of the next run that the server should have scheduled; None if too far ahead, or unknown.
        next_run: Start of the next scheduled run.
    """

    slug: str
    active: bool = True
    declared_active: bool = True
    due: datetime | None = None
    next_run: datetime | None = None


class Facts(Model):
    """The state of a deployment, its work pool, queue, schedules and runs.

    Attributes:
        changed: Time of the last change by any client.
        declared_paused: Whether the release declares it paused.
        pool_status: Status of the work pool; None for a deployment without one.
        late_since: Scheduled start of the oldest late run.
        finished: Its last runs that ended by themselves, newest first, at most `RUNS`.
    """

    changed: datetime
    version: str | None = None
    ready: bool = True
    paused: bool = False
    declared_paused: bool = False
    pool: str | None = None
    pool_status: Literal["READY", "NOT_READY", "PAUSED"] | None = None
    queue: str = "default"
    queue_paused: bool = False
    schedules: tuple[ScheduleFacts, ...] = ()
    late_since: datetime | None = None
    finished: tuple[FinishedRun, ...] = ()

    @property
    def unscheduled(self) -> list[str]:
        """Return the active schedules that should have a scheduled run and have none."""
        if self.paused:
            return []
        return [item.slug for item in self.schedules if item.active and item.due and item.next_run is None]


def health(facts: Facts, now: datetime) -> Health:
    """Return the health of a deployment, with every reason why it is not healthy, the worst first."""
    reasons = sorted((*_held_back(facts), *_runs(facts, now)), key=lambda item: GRAVITY.index(item[0]))
    times = [item.next_run for item in facts.schedules if item.next_run]
    return Health(
        status=reasons[0][0] if reasons else "Healthy",
        reasons=tuple(reason for _, reason in reasons),
        next_run=min(times, default=None),
        last_run=facts.finished[0] if facts.finished else None,
    )


def _held_back(facts: Facts) -> Iterator[Reason]:
    """Yield what keeps runs from starting: a pause, or a missing worker."""
    if facts.paused and not facts.declared_paused:
        yield "Degraded", diagnostic("MF731")
    paused = [item.slug for item in facts.schedules if item.declared_active and not item.active]
    if paused:
        yield "Degraded", diagnostic("MF732", schedules=in_words(paused))
    if facts.pool_status == "PAUSED":
        yield "Degraded", diagnostic("MF411", what=f"work pool '{facts.pool}'")
    if facts.queue_paused:
        yield "Degraded", diagnostic("MF411", what=f"work queue '{facts.queue}' of '{facts.pool}'")
    if facts.pool_status == "NOT_READY":
        yield "Degraded" if facts.finished else "Progressing", diagnostic("MF412", pool=facts.pool)


def _runs(facts: Facts, now: datetime) -> Iterator[Reason]:
    """Yield what is wrong with past and coming runs."""
    blocked = facts.pool_status in ("NOT_READY", "PAUSED") or facts.queue_paused
    unpolled = facts.pool_status == "READY" and not facts.queue_paused and not facts.ready
    if facts.late_since:
        yield "Unhealthy" if blocked or unpolled else "Degraded", diagnostic("MF734", since=facts.late_since)
    yield from _failures(facts)
    if now - facts.changed < SETTLING:
        if unpolled or facts.unscheduled:
            yield "Progressing", diagnostic("MF736")
        return
    if facts.unscheduled:
        yield "Unhealthy", diagnostic("MF703", schedules=in_words(facts.unscheduled))
    if unpolled:
        yield "Degraded", diagnostic("MF733", pool=facts.pool, queue=facts.queue)


def _failures(facts: Facts) -> Iterator[Reason]:
    """Yield a failed last run: unhealthy if no recent run succeeded, unless the code has changed since."""
    if not facts.finished or facts.finished[0].succeeded:
        return
    last, count = facts.finished[0], len(facts.finished)
    succeeded = any(run.succeeded for run in facts.finished)
    earlier = facts.version is not None and last.version not in (None, facts.version)
    what = f"none of the last {count} runs succeeded, and the last" if count > 1 and not succeeded else "the last run"
    but = ", before its code changed" if earlier else ""
    reason = diagnostic("MF735", what=what, state=last.state.lower(), ended=last.ended, but=but)
    yield "Degraded" if succeeded or earlier else "Unhealthy", reason


def in_words(schedules: list[str], limit: int = 5) -> str:
    """Return schedules by name for a message, e.g. `schedule 'daily'`."""
    named = ", ".join(f"'{slug}'" for slug in schedules[:limit])
    more = f" and {len(schedules) - limit} more" if len(schedules) > limit else ""
    return f"schedule{'s' if len(schedules) > 1 else ''} {named}{more}"
