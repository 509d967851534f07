"""Decide which owned resources that the repository no longer declares are deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meta_flows.diagnostics import refuse
from meta_flows.models import Change, LiveResource

PRUNE_TAG = "prune:"
"""Prefix of the tag by which a deployment itself allows or forbids its deletion: `prune:true`, `prune:false`."""


class Prune(NamedTuple):
    """Which undeclared deployments to delete.

    Attributes:
        enabled: Whether to delete any; a deployment's own tag takes precedence.
        limit: Largest share of all owned deployments that may be deleted.
        only: Addresses of the only deployments that may be deleted; None for all.
        skip_reason: Why undeclared deployments may still be in the repository; none is deleted then.
        present: Entrypoints that are in the repository although none is selected or valid now.
    """

    enabled: bool = False
    limit: float = 1.0
    only: frozenset[str] | None = None
    skip_reason: str = ""
    present: frozenset[str] = frozenset()


def deletions(
    undeclared: Mapping[str, LiveResource], replaced: Mapping[str, str], *, of: int, prune: Prune
) -> tuple[list[Change], tuple[str, ...]]:
    """Return the deletions among `of` owned deployments, and notes on the undeclared ones that are kept.

    Replaced deployments, given with the names of their successors by address, are deleted in any case.

    Raises:
        MetaFlowsError: MF513, more than the allowed share would be deleted.
    """
    to_delete: list[LiveResource] = []
    skipped: dict[str, list[str]] = {}
    for address, live in sorted(undeclared.items()):
        if address in replaced:
            continue
        skip_reason = _skip_reason(live, prune)
        if skip_reason is None:
            to_delete.append(live)
        elif skip_reason:
            skipped.setdefault(skip_reason, []).append(live.name)
    if len(to_delete) > prune.limit * of:
        names = ", ".join(live.name for live in to_delete)
        raise refuse("MF513", count=len(to_delete), of=of, limit=f"{prune.limit:.0%}", names=names)
    changes = [_deletion(undeclared[address], f"replaced by {name}") for address, name in sorted(replaced.items())]
    changes += [_deletion(live, "no longer declared") for live in to_delete]
    return changes, tuple(
        f"kept although no longer declared: {', '.join(names)} ({reason})" for reason, names in skipped.items()
    )


def _skip_reason(live: LiveResource, prune: Prune) -> str | None:
    """Return why an undeclared deployment is kept, empty if that needs no note; None if it is deleted."""
    tag = next((tag.removeprefix(PRUNE_TAG) for tag in live.spec["tags"] if tag.startswith(PRUNE_TAG)), None)
    skip_reasons = {
        "its tag says prune:false": tag == "false",
        prune.skip_reason: bool(prune.skip_reason),
        "it was never released": prune.only is not None and live.address not in prune.only,
        "its flow is ignored": live.spec["entrypoint"] in prune.present,
    }
    skip_reason = next((reason for reason, holds in skip_reasons.items() if holds), None)
    if prune.enabled or tag == "true":
        return skip_reason
    return "" if skip_reason else "--prune deletes it"


def _deletion(live: LiveResource, reason: str) -> Change:
    return Change(type=live.type, action="delete", flow_name=live.flow_name, name=live.name, reason=reason, live=live)


def clean(owned: Mapping[str, LiveResource]) -> list[Change]:
    """Return a deletion of each of these deployments."""
    return [_deletion(live, "") for _, live in sorted(owned.items())]
