"""What would change, and why: a pure three-way comparison of desired, released and live.

*Desired* is what the repository says, *released* what the last release rendered, *live* what the server has. With the
released state at hand, "we no longer state this" (take it away) can be told from "an operator added this" (leave it),
and drift, which is live differing from released, can be named.

`merge` combines the three into the spec to reach, `difference` lists what that changes in the live one, `make_plan`
does both for every resource of every type. `history` reads the same from the record of releases, and plans the way
back.
"""

from meta_flows.planning.plans import Policy, digest, make_plan
from meta_flows.planning.pruning import PRUNE_TAG, Prune, clean
from meta_flows.planning.three_way import difference, merge
from meta_flows.resources import Spec

__all__ = [
    "PRUNE_TAG",
    "Policy",
    "Prune",
    "Spec",
    "clean",
    "difference",
    "digest",
    "make_plan",
    "merge",
]
