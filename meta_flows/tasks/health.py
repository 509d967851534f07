"""The step that says how deployments do, beside whether they are as planned."""

from __future__ import annotations

from datetime import datetime, timezone

from meta_flows.engine import ApplyResult
from meta_flows.errors import MetaFlowsError, diagnostic, error_summary
from meta_flows.models import Health
from meta_flows.prefect_api.activity import read_facts
from meta_flows.prefect_api.connection import Api, translate_http_errors
from meta_flows.proposals import Proposal
from meta_flows.tasks import step
from meta_flows.verification import health


@step("look at health")
def check_health(api: Api, proposal: Proposal, carried: ApplyResult | None) -> dict[str, Health]:
    """How the deployments of a plan do, by address, where it was carried out or changes nothing.

    It informs: it waits for nothing, and nothing fails where it cannot be read.
    """
    if (carried and carried.unreachable) or (carried is None and not proposal.plan.in_sync):
        return {}
    now = datetime.now(timezone.utc)
    there = carried.live if carried else proposal.observed.live
    planned = (change for change in proposal.plan.changes if change.type == "deployment")
    live = {change.address: there[change.address] for change in planned if change.address in there}
    try:
        with translate_http_errors():
            facts = read_facts(api, live, proposal.resources)
    except MetaFlowsError as error:
        return dict.fromkeys(live, Health(reasons=(diagnostic("MF737", detail=error_summary(error)),)))
    return {key: health(item, now) for key, item in facts.items()}
