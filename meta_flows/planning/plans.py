"""From desired, released and live resources to a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from meta_flows.diagnostics import diagnostic
from meta_flows.models import Change, Diagnostic, LiveResource, Location, Ownership, Plan, Resource
from meta_flows.planning.pruning import Prune, deletions
from meta_flows.planning.three_way import difference, merge
from meta_flows.resources import TYPES, Spec

Live = Mapping[str, LiveResource]
Released = Mapping[str, Resource]
Defaults = Callable[[str], Spec]
"""The base job template of a type of work pool."""


class Policy(NamedTuple):
    """What a plan may do beside creating and updating what is ours.

    Attributes:
        adopt: Take over a resource of the same name that is not ours.
        prune: What to do about resources that are no longer declared.
    """

    adopt: bool = False
    prune: Prune = Prune()


def no_default(pool_type: str) -> Spec:
    """Stand for defaults where no plan needs one: only work pools have a template."""
    raise LookupError(pool_type)


def make_plan(
    desired: Iterable[Resource],
    released: Released,
    live: Live,
    ownership: Ownership,
    *,
    policy: Policy = Policy(),
    default: Defaults = no_default,
    places: Mapping[str, Location] = {},  # read only
) -> Plan:
    """Decide what to do about each resource.

    Args:
        desired: What the repository declares.
        released: What the last release put on the server, by address.
        live: What the server has, by address.
        ownership: Whose we are.
        policy: What the plan may do besides.
        default: Base job templates.
        places: Where resources are declared, by address.

    Returns:
        The plan: every desired resource in the order of the types, and then what is deleted.

    Raises:
        MetaFlowsError: MF513, more than the stated share would be deleted.
    """
    owned = {at: item for at, item in live.items() if TYPES[item.type].owns(item, ownership, released)}
    wanted = {item.address: item for item in desired}
    replaced: dict[str, str] = {}
    changes: list[Change] = []
    refused: list[Diagnostic] = []
    for item in sorted(wanted.values(), key=lambda item: (list(TYPES).index(item.type), item.name)):
        existing = live.get(item.address)
        predecessor = _predecessor(item, owned)
        change = _change(item, released, existing, predecessor, default)
        foreign = existing is not None and item.address not in owned and not policy.adopt
        if foreign and (TYPES[item.type].tagged or change.action != "unchanged"):
            facts = {"key": item.key, "pool": item.name, "project": ownership.project}
            facts["fields"] = ", ".join(field.path for field in change.fields)
            refused.append(diagnostic(TYPES[item.type].unowned, places.get(item.address), **facts))
        elif predecessor and predecessor.address in wanted:
            refused.append(diagnostic("MF515", key=item.key, replaced=predecessor.key))
        else:
            if predecessor:
                replaced[predecessor.address] = item.name
            changes.append(change)
    surplus = {at: item for at, item in owned.items() if at not in wanted and TYPES[item.type].prunable}
    prunable = sum(TYPES[item.type].prunable for item in owned.values())
    deleted, kept = deletions(surplus, replaced, of=prunable, prune=policy.prune)
    kinds = {at: item.kind for at, item in released.items()}
    changes += [change.model_copy(update={"kind": kinds.get(change.address, "")}) for change in deleted]
    return Plan(
        project=ownership.project,
        environment=ownership.environment,
        changes=tuple(changes),
        refused=tuple(refused),
        kept=kept,
        digest=digest(changes),
    )


def _predecessor(item: Resource, owned: Live) -> LiveResource | None:
    """The owned resource whose place this one takes: another name, or the same name of a flow that was renamed."""
    others = (other for at, other in sorted(owned.items()) if at != item.address and other.type == item.type)
    return next((other for other in others if other.name == item.replaces), None)


def _change(
    item: Resource,
    released: Released,
    existing: LiveResource | None,
    predecessor: LiveResource | None,
    default: Defaults,
) -> Change:
    """What to do about one resource; one that takes another's place begins as that one is, pauses included."""
    kind = TYPES[item.type]

    def released_spec(model: LiveResource | None) -> Spec:
        return released[model.address].spec if model and model.address in released else {}

    model = existing or predecessor
    stated = released_spec(model)
    before = kind.aligned(model, item.spec) if model else None
    declared = kind.prepared(item.spec, stated, before.spec if before else None, default)
    start = declared.start
    if existing and predecessor:
        successor = kind.aligned(predecessor, item.spec)
        start = kind.resumed(start, merge(kind, item.spec, released_spec(predecessor), successor.spec))
    target = merge(kind, declared.desired, stated, start)
    live = before if existing else None
    last = released.get(item.address)
    unborn = {} if model else declared.start  # what it takes over from another counts as new
    fields = difference(kind, live.spec if live else unborn, target, last.spec if last else {})
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


def digest(changes: Iterable[Change], *more: Any, names: Mapping[str, str] | None = None) -> str:
    """Hash over what would be changed, from what and to what; what stays as it is does not count.

    Args:
        changes: What would be changed.
        *more: Whatever else counts.
        names: What to put for certain texts, such as for the digest of an image, which is not known before it is built.
    """
    content = [
        (
            change.key,
            change.action,
            change.live.id if change.live else None,
            change.live and change.live.spec,
            change.target,
        )
        for change in changes
        if change.action != "unchanged"
    ]
    text = json.dumps([content, *more], sort_keys=True, default=str)
    for reference, name in (names or {}).items():
        text = text.replace(reference, name)
    return hashlib.sha256(text.encode()).hexdigest()
