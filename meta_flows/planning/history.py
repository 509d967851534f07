"""Read releases: what is released, which release to go back to, and how to undo one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from meta_flows.models import Change, LiveResource, Ownership, Plan, Release, Resource
from meta_flows.planning.three_way import difference, merge, reverted
from meta_flows.resources import TYPES, described


def released(release: Release | None) -> dict[str, Resource]:
    """Return the released resources, by address.

    An interrupted release leaves a state between two released specs: a field that either declares is ours, not an
    operator's.
    """
    if release is None:
        return {}
    if release.state == "rolled-back":
        return before(release)
    resources = dict(release.resources)
    for address in _uncertain(release):
        both = [item for item in (release.previous.get(address), resources.get(address)) if item]
        if both:
            spec = merge(TYPES[both[0].type], both[-1].spec, {}, both[0].spec)
            resources[address] = both[-1].model_copy(update={"spec": spec})
    return resources


def confirmed(release: Release | None) -> dict[str, Resource]:
    """Return the released resources that certainly reached the server, by address."""
    if release is None or release.to_undo:
        return {}
    uncertain = _uncertain(release)
    return {address: item for address, item in released(release).items() if address not in uncertain}


def _uncertain(release: Release) -> Iterable[str]:
    """Return the addresses of resources that may be neither as before a release nor as it declares them."""
    if release.state == "rolled-back":
        return ()
    return release.previous if release.unfinished else release.failures


def before(release: Release) -> dict[str, Resource]:
    """Return the resources that were released before a release, by address."""
    unchanged = {at: item for at, item in release.resources.items() if at not in release.previous}
    return {**unchanged, **{at: item for at, item in release.previous.items() if item}}


def predecessor(succeeded: Sequence[Release]) -> Release | None:
    """Return the release before the newest, or before the one that the newest restored; `succeeded` is newest first."""
    by_id = {release.id: release for release in succeeded}

    def origin(release: Release) -> Release:
        return by_id.get(release.restores or "", release)

    if not succeeded:
        return None
    older = [release for release in succeeded if release.id < origin(succeeded[0]).id]
    return origin(older[0]) if older else None


def complete_record(record: Release, resources: Mapping[str, Resource], earlier: Mapping[str, Resource]) -> Release:
    """Return a record with what its plan is about to change and to release, and what was released earlier."""
    pending = {change.address: change for change in record.plan.pending}
    differing = {at for at in {**resources, **earlier} if resources.get(at) != earlier.get(at)}
    return record.model_copy(
        update={
            "resources": dict(resources),
            "previous": {at: earlier.get(at) for at in sorted(differing | pending.keys())},
            "preimages": {at: change.live for at, change in pending.items()},
            "written": {at: (change.target,) for at, change in pending.items() if change.action == "update"},
            "deleted": tuple(at for at, change in pending.items() if change.action == "delete"),
        }
    )


def undo_plan(release: Release, live: Mapping[str, LiveResource]) -> tuple[Plan, tuple[str, ...]]:
    """Plan the way back from a release: what it wrote becomes what it was before, what others wrote since stays.

    Created resources of types that others may use by now are not deleted here, but by `Store.remove_unused`.

    Returns:
        The plan, and a note on each resource of which something stays since another client has changed it.
    """
    changes: list[Change] = []
    notes: list[str] = []
    for address, preimage in sorted(release.preimages.items()):
        change, others = _way_back(address, preimage, live.get(address), release)
        changes += [change] if change else []
        notes += [f"{described(address)} keeps what another client changed meanwhile: {others}"] if others else []
    order = list(TYPES)
    changes.sort(key=lambda change: order.index(change.type))
    return Plan(project=release.project, environment=release.environment, changes=tuple(changes)), tuple(notes)


def _way_back(
    address: str, preimage: LiveResource | None, now: LiveResource | None, release: Release
) -> tuple[Change | None, str]:
    """Return the change that restores one resource, and what of it stays since another client has changed it."""
    known = preimage or now
    if known is None or (preimage is None and not TYPES[known.type].prunable):
        return None, ""
    resource_type = TYPES[known.type]
    if now and not resource_type.owns(now, Ownership(release.project, release.environment), (address,)):
        foreign = preimage is None or bool(difference(resource_type, now.spec, preimage.spec))
        return None, "its owner" if foreign else ""
    kind = next((change.kind for change in release.plan.changes if change.address == address), "")
    identity = {"type": known.type, "flow_name": known.flow_name, "name": known.name, "kind": kind}
    if preimage is None:
        return Change(**identity, action="delete", reason="undone", live=now), ""
    if now is None:
        if address in (release.written or {}) and address not in release.deleted:
            return None, "it was deleted"
        fields = difference(resource_type, {}, preimage.spec)
        return Change(**identity, action="create", reason="restored", fields=fields, target=preimage.spec), ""
    now = resource_type.original(now, preimage)
    target, others = reverted(resource_type, _written(release, preimage, now), preimage.spec, now.spec)
    fields = difference(resource_type, now.spec, target)
    action, reason = ("update", "restored") if fields else ("unchanged", "")
    return Change(**identity, action=action, reason=reason, fields=fields, target=target, live=now), ", ".join(others)


def _written(release: Release, preimage: LiveResource, now: LiveResource) -> Sequence[Mapping[str, object]]:
    """Return the specs that a release may have written to a resource that existed before."""
    if release.written is None or now.id != preimage.id:  # recorded by an earlier version; created again by us
        return (now.spec,)
    return release.written.get(preimage.address, ())


def inherit_preimages(release: Release, abandoned: Release | None) -> Release:
    """Return a release that, if it fails, goes back to the state before the unfinished release that it continues."""
    if abandoned is None or not abandoned.to_undo:
        return release
    plan = release.plan.model_copy(
        update={
            "flows": tuple(dict.fromkeys((*abandoned.plan.flows, *release.plan.flows))),
            "work_queues": tuple(dict.fromkeys((*abandoned.plan.work_queues, *release.plan.work_queues))),
        }
    )
    written = None
    if release.written is not None and abandoned.written is not None:
        both = {**abandoned.written, **release.written}
        written = {at: (*abandoned.written.get(at, ()), *release.written.get(at, ())) for at in both}
    return release.model_copy(
        update={
            "plan": plan,
            "preimages": {**release.preimages, **abandoned.preimages},
            "previous": {**release.previous, **abandoned.previous},
            "written": written,
            "deleted": tuple({*abandoned.deleted, *release.deleted}),
        }
    )
