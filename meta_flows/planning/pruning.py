"""Decide about deployments that are ours and that the repository no longer declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meta_flows.diagnostics import refuse
from meta_flows.models import Change, LiveResource

PRUNE_TAG = "prune:"
"""Beginning of the tag by which a deployment says itself whether it may be pruned: `prune:false`."""


class Prune(NamedTuple):
    """Whether to delete what the repository no longer has.

    Attributes:
        wanted: Whether to delete at all; a deployment's own tag goes before.
        limit: Largest share of all owned deployments that may go.
        only: Addresses of the only deployments that may go; None for all.
        skip_reason: Why what is not asked for may still be in the repository; nothing is deleted then.
        present: Entrypoints that are in the repository although none is selected or valid now.
    """

    wanted: bool = False
    limit: float = 1.0
    only: frozenset[str] | None = None
    skip_reason: str = ""
    present: frozenset[str] = frozenset()


def deletions(
    surplus: Mapping[str, LiveResource], replaced: Mapping[str, str], *, of: int, prune: Prune
) -> tuple[list[Change], tuple[str, ...]]:
    """The deletions of a plan, and why the others of the surplus stay.

    Args:
        surplus: Owned deployments that are not desired, by key.
        replaced: Name of the deployment that takes the place of each, by address; these go whatever the policy says.
        of: How many owned deployments there are.
        prune: The policy.

    Raises:
        MetaFlowsError: MF513, more than the stated share would go.
    """
    gone: list[LiveResource] = []
    kept: dict[str, list[str]] = {}
    for key, live in sorted(surplus.items()):
        if key not in replaced:
            goes, why = _judged(live, prune)
            if goes:
                gone.append(live)
            elif why:
                kept.setdefault(why, []).append(live.name)
    if len(gone) > prune.limit * of:
        names = ", ".join(live.name for live in gone)
        raise refuse("MF513", count=len(gone), of=of, limit=f"{prune.limit:.0%}", names=names)
    changes = [_deletion(surplus[key], f"replaced by {name}") for key, name in sorted(replaced.items())]
    changes += [_deletion(live, "nobody asks for it any more") for live in gone]
    return changes, tuple(
        f"kept although nobody asks for it: {', '.join(names)} ({why})" for why, names in kept.items()
    )


def _judged(live: LiveResource, prune: Prune) -> tuple[bool, str]:
    """Return whether a deployment goes, and why not where that is worth a note."""
    own_word = next((tag.removeprefix(PRUNE_TAG) for tag in live.spec["tags"] if tag.startswith(PRUNE_TAG)), None)
    skip_reasons = {
        "its tag says prune:false": own_word == "false",
        prune.skip_reason: bool(prune.skip_reason),
        "it was never released": prune.only is not None and live.address not in prune.only,
        "its flow is ignored": live.spec["entrypoint"] in prune.present,
    }
    skip_reason = next((why for why, holds in skip_reasons.items() if holds), "")
    if prune.wanted or own_word == "true":
        return not skip_reason, skip_reason
    return False, "" if skip_reason else "--prune deletes it"


def _deletion(live: LiveResource, reason: str) -> Change:
    return Change(type=live.type, action="delete", flow_name=live.flow_name, name=live.name, reason=reason, live=live)


def clean(owned: Mapping[str, LiveResource]) -> list[Change]:
    """Return the deletion of each of these deployments, on request."""
    return [_deletion(live, "") for _, live in sorted(owned.items())]
