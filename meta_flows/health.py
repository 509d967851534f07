"""How deployments do: their health, from what was observed of each; no server is asked here.

| status | what the person on call has to do |
| --- | --- |
| Unhealthy | act now: runs that are due do not happen, or none succeeds |
| Degraded | look in the morning: something is held back, or is not as it should be, without harm so far |
| Unknown | look again: it cannot be said yet |
| Healthy | nothing |
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic, FinishedRun, Health, Model

SETTLING = timedelta(seconds=90)
"""How long after a change the server may take to schedule runs, and a worker to poll: both look once a minute."""

RUNS = 3
"""How many of the last runs count."""

GRAVITY = ("Unhealthy", "Degraded", "Unknown", "Healthy")
"""The worst first."""

Status = Literal["Healthy", "Degraded", "Unhealthy", "Unknown"]
Reason = tuple[Status, Diagnostic]


class ScheduleFacts(Model):
    """One schedule as it was found.

    Attributes:
        wanted: Whether the release has it, and running.
        due: When the server should have scheduled its next run for; None if that is too far ahead, or not known.
        next_run: When the next run that is scheduled starts.
    """

    slug: str
    active: bool = True
    wanted: bool = True
    due: datetime | None = None
    next_run: datetime | None = None


class Facts(Model):
    """What was found of a deployment and of what it needs.

    Attributes:
        changed: When it was last written to.
        pause_wanted: Whether the release has it paused.
        pool_status: As the server has it; None for a deployment without a work pool.
        late_since: When the oldest of the runs that wait should have started.
        finished: Its last runs that ended by themselves, newest first, at most `RUNS`.
    """

    changed: datetime
    version: str | None = None
    ready: bool = True
    paused: bool = False
    pause_wanted: bool = False
    pool: str | None = None
    pool_status: Literal["READY", "NOT_READY", "PAUSED"] | None = None
    queue: str = "default"
    queue_paused: bool = False
    schedules: tuple[ScheduleFacts, ...] = ()
    late_since: datetime | None = None
    finished: tuple[FinishedRun, ...] = ()

    @property
    def unscheduled(self) -> list[str]:
        """The active schedules without a run, though there should be one."""
        return [
            item.slug
            for item in self.schedules
            if item.active and item.due and item.next_run is None and not self.paused
        ]


def health(facts: Facts, now: datetime) -> Health:
    """How a deployment does, with every reason why it does not do well."""
    reasons = sorted((*_held_back(facts), *_runs(facts, now)), key=lambda item: GRAVITY.index(item[0]))
    times = [item.next_run for item in facts.schedules if item.next_run]
    return Health(
        status=reasons[0][0] if reasons else "Healthy",
        reasons=tuple(reason for _, reason in reasons),
        next_run=min(times, default=None),
        last_run=facts.finished[0] if facts.finished else None,
    )


def _held_back(facts: Facts) -> Iterator[Reason]:
    """Return what keeps runs from starting: a pause, or the lack of a worker."""
    if facts.paused and not facts.pause_wanted:
        yield "Degraded", diagnostic("MF731")
    paused = [item.slug for item in facts.schedules if item.wanted and not item.active]
    if paused:
        yield "Degraded", diagnostic("MF732", schedules=in_words(paused))
    if facts.pool_status == "PAUSED":
        yield "Degraded", diagnostic("MF411", what=f"work pool '{facts.pool}'")
    if facts.queue_paused:
        yield "Degraded", diagnostic("MF411", what=f"work queue '{facts.queue}' of '{facts.pool}'")
    if facts.pool_status == "NOT_READY":
        yield "Degraded", diagnostic("MF412", pool=facts.pool)


def _runs(facts: Facts, now: datetime) -> Iterator[Reason]:
    """What of its runs, past and to come, is not as it should be."""
    blocked = facts.pool_status in ("NOT_READY", "PAUSED") or facts.queue_paused
    unpolled = facts.pool_status == "READY" and not facts.queue_paused and not facts.ready
    if facts.late_since:
        yield "Unhealthy" if blocked or unpolled else "Degraded", diagnostic("MF734", since=facts.late_since)
    yield from _failures(facts)
    if now - facts.changed < SETTLING:
        if unpolled or facts.unscheduled:
            yield "Unknown", diagnostic("MF736")
        return
    if facts.unscheduled:
        yield "Unhealthy", diagnostic("MF703", schedules=in_words(facts.unscheduled))
    if unpolled:
        yield "Degraded", diagnostic("MF733", pool=facts.pool, queue=facts.queue)


def _failures(facts: Facts) -> Iterator[Reason]:
    """Failed runs: grave if none of the last ones succeeded, unless the code is another one since."""
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
    """Some schedules by name, e.g. `schedule 'daily'`."""
    named = ", ".join(f"'{slug}'" for slug in schedules[:limit])
    more = f" and {len(schedules) - limit} more" if len(schedules) > limit else ""
    return f"schedule{'s' if len(schedules) > 1 else ''} {named}{more}"
