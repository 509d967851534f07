"""Verifying: read again what was written, and plan again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import INFO
from typing import NamedTuple

from meta_flows.diagnostics import diagnostic
from meta_flows.engine.apply import DONE, Result
from meta_flows.engine.session import Session
from meta_flows.models import Diagnostic, LiveResource, Ownership, Resource
from meta_flows.planning import make_plan
from meta_flows.resources import described


class Verified(NamedTuple):
    """What is live after applying, and what of it is not as planned."""

    live: Mapping[str, LiveResource]
    errors: tuple[Diagnostic, ...]


def verify(
    session: Session,
    ownership: Ownership,
    desired: Iterable[Resource],
    released: Mapping[str, Resource],
    before: Mapping[str, LiveResource],
    results: Mapping[str, Result],
) -> Verified:
    """Read everything that was written again, and plan again: a deploy is done when that plan is empty.

    Args:
        session: Where.
        ownership: Whose we are.
        desired: What was to be there.
        released: What was released before.
        before: What was live before.
        results: How each change ended.
    """
    wanted = [item.model_copy(update={"replaces": None}) for item in desired if item.address in results]
    written = [item.address for item in wanted if results[item.address] != Result(DONE["unchanged"])]
    as_planned = [item for item in wanted if not results[item.address].error]

    def check() -> Verified:
        now = session.store.read(written) if written else {}
        live = {**{at: item for at, item in before.items() if at not in written}, **now}
        plan = make_plan(as_planned, released, live, ownership, default=session.store.default_job_template)
        errors = (
            diagnostic(
                "MF502",
                what=described(change.address),
                detail=", ".join(field.path for field in change.fields) if change.live else "it is missing",
            )
            for change in plan.pending
        )
        return Verified(live, (*errors, *plan.refused))

    verified = session.shell.step(f"verify {ownership.environment}", check)
    made = len(as_planned) - len(verified.errors)
    session.shell.log(INFO, f"{made} of {len(wanted)} resources are as planned")
    return verified
