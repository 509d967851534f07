"""Propose a deploy, rollback, repair, clean or registration, and apply the proposal as the only writer.

Each `propose_...` reads the server and plans; it writes nothing. A deploy proposes the flows of the repository; a
rollback, a repair and a clean propose what the record of releases holds.
"""

from meta_flows.proposals.observing import is_current, observe, observe_others, read_server
from meta_flows.proposals.plans import PlannedPools, environment_pools, plan_pools
from meta_flows.proposals.proposal import Context, DeployOptions, Observed, Proposal, Revise, apply_proposal
from meta_flows.proposals.released import propose_clean, propose_repair, propose_rollback
from meta_flows.proposals.repository import check_plan, propose_deploy, propose_registration

__all__ = [
    "Context",
    "DeployOptions",
    "Observed",
    "PlannedPools",
    "Proposal",
    "Revise",
    "apply_proposal",
    "check_plan",
    "environment_pools",
    "is_current",
    "observe",
    "observe_others",
    "plan_pools",
    "propose_clean",
    "propose_deploy",
    "propose_registration",
    "propose_repair",
    "propose_rollback",
    "read_server",
]
