"""Make a plan from desired, released and live resources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from meta_flows.diagnostics import diagnostic
from meta_flows.models import Change, Diagnostic, LiveResource, Location, Ownership, Plan, Resource
from meta_flows.planning.pruning import Prune, deletions
from meta_flows.planning.three_way import difference, merge
from meta_flows.resources import TYPES, Spec

Live = Mapping[str, LiveResource]
Released = Mapping[str, Resource]
Defaults = Callable[[str], Spec]
"""Returns the default base job template of a type of work pool."""


class Policy(NamedTuple):
    """What a plan may do besides creating and updating resources that are ours.

    Attributes:
        adopt: Take over resources of the same name that are not ours.
        prune: Which resources that are no longer declared to delete.
    """

    adopt: bool = False
    prune: Prune = Prune()


def no_default(pool_type: str) -> Spec:
    """Raise `LookupError`: the default of plans without work pools."""
    raise LookupError(pool_type)


def make_plan(
    desired: Iterable[Resource],
    released: Released,
    live: Live,
    ownership: Ownership,
    *,
    policy: Policy = Policy(),
    default: Defaults = no_default,
    locations: Mapping[str, Location] = {},  # read only
) -> Plan:
    """Plan the changes from live to desired: every desired resource in the order of the types, then the deletions.

    All mappings are by address; `locations` are the locations of the declarations, for diagnostics.

    Raises:
        MetaFlowsError: MF513, more than the allowed share would be deleted.
    """
    owned = {at: item for at, item in live.items() if TYPES[item.type].owns(item, ownership, released)}
    declared = {item.address: item for item in desired}
    replaced: dict[str, str] = {}
    changes: list[Change] = []
    refused: list[Diagnostic] = []
    for item in sorted(declared.values(), key=lambda item: (list(TYPES).index(item.type), item.name)):
        existing = live.get(item.address)
        predecessor = _predecessor(item, owned)
        change = _change(item, released, existing, predecessor, default)
        foreign = existing is not None and item.address not in owned and not policy.adopt
        if foreign and (TYPES[item.type].tagged or change.action != "unchanged"):
            fields = ", ".join(field.path for field in change.fields)
            facts = {"key": item.key, "pool": item.name, "project": ownership.project, "fields": fields}
            refused.append(diagnostic(TYPES[item.type].unowned, locations.get(item.address), **facts))
        elif predecessor and predecessor.address in declared:
            refused.append(diagnostic("MF515", key=item.key, replaced=predecessor.key))
        else:
            if predecessor:
                replaced[predecessor.address] = item.name
            changes.append(change)
    prunable = {at: item for at, item in owned.items() if TYPES[item.type].prunable}
    undeclared = {at: item for at, item in prunable.items() if at not in declared}
    deleted, skipped = deletions(undeclared, replaced, of=len(prunable), prune=policy.prune)
    kinds = {at: item.kind for at, item in released.items()}
    changes += [change.model_copy(update={"kind": kinds.get(change.address, "")}) for change in deleted]
    return Plan(
        project=ownership.project,
        environment=ownership.environment,
        changes=tuple(changes),
        refused=tuple(refused),
        kept=skipped,
        digest=digest(changes),
    )


def _predecessor(item: Resource, owned: Live) -> LiveResource | None:
    """Return the owned resource that this one replaces: of another name, or of the same name and a renamed flow."""
    others = (other for at, other in sorted(owned.items()) if at != item.address and other.type == item.type)
    return next((other for other in others if other.name == item.replaces), None)


def _change(
    item: Resource,
    released: Released,
    existing: LiveResource | None,
    predecessor: LiveResource | None,
    default: Defaults,
) -> Change:
    """Plan one resource; one that replaces another starts from its predecessor's live state, pauses included."""
    resource_type = TYPES[item.type]

    def released_spec(resource: LiveResource | None) -> Spec:
        return released[resource.address].spec if resource and resource.address in released else {}

    base = existing or predecessor
    before = resource_type.aligned(base, item.spec) if base else None
    desired, start = resource_type.prepared(item.spec, released_spec(base), before.spec if before else None, default)
    if existing and predecessor:
        successor = resource_type.aligned(predecessor, item.spec)
        successor_spec = merge(resource_type, item.spec, released_spec(predecessor), successor.spec)
        start = resource_type.resumed(start, successor_spec)
    target = merge(resource_type, desired, released_spec(base), start)
    live = before if existing else None
    last = released.get(item.address)
    initial = {} if base else start  # fields taken over from a predecessor are listed, too
    fields = difference(resource_type, live.spec if live else initial, target, last.spec if last else {})
    return Change(
        type=item.type,
        action="create" if live is None else "update" if fields else "unchanged",
        flow_name=item.flow_name,
        name=item.name,
        kind=item.kind,
        reason=f"replaces {predecessor.name}" if predecessor and not existing else "",
        fields=fields,
        target=target,
        live=live,
    )


def digest(changes: Iterable[Change], names: Mapping[str, str] | None = None) -> str:
    """Return a hash of the pending changes with the live states that they start from.

    `names` replaces texts before hashing, e.g. the digest of an image, which is unknown before the image is built.
    """
    content = [
        (change.key, change.action, change.live and change.live.id, change.live and change.live.spec, change.target)
        for change in changes
        if change.action != "unchanged"
    ]
    text = json.dumps([content], sort_keys=True, default=str)
    for reference, name in (names or {}).items():
        text = text.replace(reference, name)
    return hashlib.sha256(text.encode()).hexdigest()
