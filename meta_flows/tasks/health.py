"""The step that says how deployments do, beside whether they are as planned."""

from __future__ import annotations

from datetime import datetime, timezone

from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import Health
from meta_flows.prefect_api import Api, plain_reason, speaking_plainly
from meta_flows.prefect_api.activity import read_facts
from meta_flows.tasks import step
from meta_flows.tasks.planning import Proposal
from meta_flows.tasks.releasing import Carried
from meta_flows.verification import health


@step("look at health")
def look_at_health(api: Api, proposal: Proposal, carried: Carried | None) -> dict[str, Health]:
    """How the deployments of a plan do, by key, where it was carried out or changes nothing.

    It informs: it waits for nothing, and nothing fails where it cannot be read.
    """
    if carried is None and not proposal.plan.in_sync:
        return {}
    now = datetime.now(timezone.utc)
    there = carried.live if carried else proposal.observed.live
    live = {change.key: there[change.key] for change in proposal.plan.changes if change.key in there}
    try:
        with speaking_plainly():
            facts = read_facts(api, live, proposal.deployments)
    except MetaFlowsError as error:
        return dict.fromkeys(live, Health(reasons=(problem("MF737", detail=plain_reason(error)),)))
    return {key: health(item, now) for key, item in facts.items()}
