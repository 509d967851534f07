"""What could be done, and carrying it out: observe, plan, approve, lock, plan again, apply.

Each `propose_...` reads the server and decides; nothing is written. What a deploy wants comes from the repository, what
a rollback, a repair and a clean want from the record of releases.
"""

from meta_flows.proposals.observing import is_current, observe, observe_others, read_server
from meta_flows.proposals.plans import environment_pools, plan_pools
from meta_flows.proposals.proposal import Context, DeployOptions, Observed, PlannedPools, Proposal, Revise, carry_out
from meta_flows.proposals.released import propose_clean, propose_repair, propose_rollback
from meta_flows.proposals.repository import check_plan, propose_deploy, propose_registration

__all__ = [
    "Context",
    "DeployOptions",
    "Observed",
    "PlannedPools",
    "Proposal",
    "Revise",
    "carry_out",
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
