"""What releases say: what is released, what to go back to, and how to undo one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from meta_flows.models import Change, LiveResource, Ownership, Plan, Release, Resource
from meta_flows.planning.three_way import difference, reverted, union
from meta_flows.resources import TYPES, described


def released(release: Release | None) -> dict[str, Resource]:
    """What is released, by address; of what was left unfinished, all that either release declares is ours."""
    if release is None:
        return {}
    if release.state == "rolled-back":
        return before(release)
    resources = dict(release.resources)
    for address in _uncertain(release):
        both = [item for item in (release.previous.get(address), resources.get(address)) if item]
        if both:
            spec = union(TYPES[both[0].type], both[0].spec, both[-1].spec)
            resources[address] = both[-1].model_copy(update={"spec": spec})
    return resources


def confirmed(release: Release | None) -> dict[str, Resource]:
    """Of what is released, that of which it is certain that it was put on the server, by address."""
    if release is None or release.to_undo:
        return {}
    uncertain = _uncertain(release)
    return {address: item for address, item in released(release).items() if address not in uncertain}


def _uncertain(release: Release) -> Iterable[str]:
    """Addresses of what may be neither as it was before a release nor as that wanted it."""
    if release.state == "rolled-back":
        return ()
    return release.previous if release.unfinished else release.failures


def before(release: Release) -> dict[str, Resource]:
    """What was released before a release, by address."""
    unchanged = {at: item for at, item in release.resources.items() if at not in release.previous}
    return {**unchanged, **{at: item for at, item in release.previous.items() if item}}


def predecessor(succeeded: Sequence[Release]) -> Release | None:
    """The release to go back to from the newest: the one before it, or before the one that it restored.

    Args:
        succeeded: Releases that succeeded, newest first.
    """
    by_id = {release.id: release for release in succeeded}

    def origin(release: Release) -> Release:
        return by_id.get(release.restores or "", release)

    if not succeeded:
        return None
    older = [release for release in succeeded if release.id < origin(succeeded[0]).id]
    return origin(older[0]) if older else None


def opened(record: Release, plan: Plan, resources: Mapping[str, Resource], earlier: Mapping[str, Resource]) -> Release:
    """Complete the record of a release that is about to be applied.

    Args:
        record: Who does it, when, and from which code.
        plan: What is done.
        resources: What is released once it has succeeded.
        earlier: What was released before.
    """
    pending = {change.address: change for change in plan.pending}
    differing = {at for at in {**resources, **earlier} if resources.get(at) != earlier.get(at)}
    return record.model_copy(
        update={
            "plan": plan,
            "resources": dict(resources),
            "previous": {at: earlier.get(at) for at in sorted(differing | pending.keys())},
            "preimages": {at: change.live for at, change in pending.items()},
            "written": {at: (change.target,) for at, change in pending.items() if change.action == "update"},
            "deleted": tuple(at for at, change in pending.items() if change.action == "delete"),
        }
    )


class Undo(NamedTuple):
    """How to undo a release.

    Attributes:
        plan: What is to be done.
        kept: What stays although the release touched it, since another client has changed it meanwhile.
    """

    plan: Plan
    kept: tuple[str, ...]


def undo_plan(release: Release, live: Mapping[str, LiveResource]) -> Undo:
    """Plan the way back from a release: what it wrote becomes what it was before, what others wrote since stays.

    Of what it created, types that others may use by now are not deleted here, but by `Store.remove_unused`.

    Args:
        release: The release.
        live: What is live of the resources that it touched, by address.
    """
    changes: list[Change] = []
    kept: list[str] = []
    for address, image in sorted(release.preimages.items()):
        change, others = _way_back(address, image, live.get(address), release)
        changes += [change] if change else []
        kept += [f"{described(address)} keeps what another client changed meanwhile: {others}"] if others else []
    order = list(TYPES)
    changes.sort(key=lambda change: order.index(change.type))
    plan = Plan(project=release.project, environment=release.environment, changes=tuple(changes))
    return Undo(plan, tuple(kept))


def _way_back(
    address: str, image: LiveResource | None, now: LiveResource | None, release: Release
) -> tuple[Change | None, str]:
    """What to do about one resource, and what of it stays because another client has changed it."""
    model = image or now
    if model is None or (image is None and not TYPES[model.type].prunable):
        return None, ""
    resource_type = TYPES[model.type]
    if now and not resource_type.owns(now, Ownership(release.project, release.environment), (address,)):
        foreign = image is None or bool(difference(resource_type, now.spec, image.spec))
        return None, "its owner" if foreign else ""
    kind = next((change.kind for change in release.plan.changes if change.address == address), "")
    of = {"type": model.type, "flow_name": model.flow_name, "name": model.name, "kind": kind}
    if image is None:
        return Change(**of, action="delete", reason="undone", live=now), ""
    if now is None:
        if address in (release.written or {}) and address not in release.deleted:
            return None, "it was deleted"
        fields = difference(resource_type, {}, image.spec)
        return Change(**of, action="create", reason="restored", fields=fields, target=image.spec), ""
    now = resource_type.original(now, image)
    target, others = reverted(resource_type, _written(release, address, image, now), image.spec, now.spec)
    fields = difference(resource_type, now.spec, target)
    action, reason = ("update", "restored") if fields else ("unchanged", "")
    return Change(**of, action=action, reason=reason, fields=fields, target=target, live=now), ", ".join(others)


def _written(release: Release, address: str, image: LiveResource, now: LiveResource) -> Sequence[Mapping[str, object]]:
    """What a release may have written to a resource that there was before."""
    if release.written is None or now.id != image.id:  # recorded by an earlier version; created again by us
        return (now.spec,)
    return release.written.get(address, ())


def inherit_preimages(release: Release, abandoned: Release | None) -> Release:
    """Let a release that fails go back to what stood before one that was left unfinished."""
    if abandoned is None or not abandoned.to_undo:
        return release
    plan = release.plan.model_copy(
        update={
            "flows": _union(abandoned.plan.flows, release.plan.flows),
            "work_queues": _union(abandoned.plan.work_queues, release.plan.work_queues),
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


def _union(*groups: Iterable[object]) -> tuple[object, ...]:
    unique: list[object] = []
    for group in groups:
        unique += [item for item in group if item not in unique]
    return tuple(unique)
