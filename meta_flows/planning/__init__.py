"""Plan changes: a pure three-way comparison of desired, released and live.

*Desired* is what the repository declares, *released* what the last release rendered, *live* what the server has. The
released state distinguishes a field that is no longer declared (remove it) from one that an operator added (keep it),
and defines drift: live differs from released.

`merge` combines the three into the spec to reach, `difference` lists the fields that this changes in the live spec,
`make_plan` does both for every resource of every type. `history` reads releases and plans the way back.
"""

from meta_flows.planning.plans import Policy, digest, make_plan
from meta_flows.planning.pruning import PRUNE_TAG, Prune, clean
from meta_flows.planning.three_way import difference, merge

__all__ = ["PRUNE_TAG", "Policy", "Prune", "clean", "difference", "digest", "make_plan", "merge"]
