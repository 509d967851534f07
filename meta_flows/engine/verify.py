"""Verify a deploy: read everything that was written, and plan again."""

from __future__ import annotations

from collections.abc import Mapping
from logging import INFO

from meta_flows.diagnostics import diagnostic
from meta_flows.engine.apply import DONE, Result, Session
from meta_flows.models import Diagnostic, LiveResource, Ownership, Release, Resource
from meta_flows.planning import make_plan
from meta_flows.resources import described


def verify(
    session: Session,
    release: Release,
    released: Mapping[str, Resource],
    before: Mapping[str, LiveResource],
    results: Mapping[str, Result],
) -> tuple[dict[str, LiveResource], tuple[Diagnostic, ...]]:
    """Read everything that was written, and plan again: a release has succeeded when that plan is empty.

    Returns:
        The live resources by address, and an error for each that is not as planned.
    """
    ownership = Ownership(release.project, release.environment)
    written = [address for address, result in results.items() if result != Result(DONE["unchanged"])]
    applied = [
        release.resources[address].model_copy(update={"replaces": None})
        for address, result in results.items()
        if not result.error
    ]

    def check() -> tuple[dict[str, LiveResource], tuple[Diagnostic, ...]]:
        live = {address: item for address, item in before.items() if address not in written}
        live |= session.store.read(written)
        plan = make_plan(applied, released, live, ownership, default=session.store.default_job_template)
        errors = (
            diagnostic(
                "MF502",
                what=described(change.address),
                detail=", ".join(field.path for field in change.fields) if change.live else "it is missing",
            )
            for change in plan.pending
        )
        return live, (*errors, *plan.refused)

    live, errors = session.shell.step(f"verify {ownership.environment}", check)
    session.shell.log(INFO, f"{len(applied) - len(errors)} of {len(results)} resources are as planned")
    return live, errors
