"""What releases say: what is released, what to go back to, and how to undo one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from meta_flows.models import Change, Deployment, LiveDeployment, Plan, Release, WorkPoolChange
from meta_flows.planning.differences import difference
from meta_flows.planning.merging import Spec, either
from meta_flows.planning.schedules import matched, unmatched


def released(release: Release | None) -> dict[str, Deployment]:
    """What is released, by key; of what was left unfinished, all that either release states is ours."""
    if release is None:
        return {}
    if release.state == "rolled-back":
        return before(release)
    deployments = dict(release.deployments)
    for key in release.previous if release.unfinished else release.failures:
        earlier, now = release.previous.get(key), deployments.get(key)
        both = [item for item in (earlier, now) if item]
        if both:
            spec = either(both[0].spec, both[-1].spec)
            deployments[key] = both[-1].model_copy(update={"spec": spec})
    return deployments


def released_work_pools(release: Release | None) -> dict[str, Spec]:
    """What is stated of the work pools that are ours, by name; of what is uncertain, all that either release states."""
    if release is None:
        return {}
    earlier = release.previous_work_pools
    if release.state == "rolled-back":
        return {**earlier}
    uncertain = release.work_pools if release.unfinished else release.failures
    return {
        name: either(earlier.get(name, {}), spec) if name in uncertain else spec
        for name, spec in release.work_pools.items()
    }


def settled(release: Release | None) -> dict[str, Deployment]:
    """Of what is released, that of which it is certain that it was put on the server, by key."""
    if release is None or release.unfinished:
        return {}
    return {key: item for key, item in released(release).items() if key not in release.failures}


def settled_work_pools(release: Release | None) -> dict[str, Spec]:
    """The same of the work pools of which it is certain."""
    failed = release.failures if release else {}
    return {name: spec for name, spec in released_work_pools(release).items() if name not in failed}


def before(release: Release) -> dict[str, Deployment]:
    """What was released before a release, by key."""
    unchanged = {key: item for key, item in release.deployments.items() if key not in release.previous}
    return {**unchanged, **{key: item for key, item in release.previous.items() if item}}


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


def undoing(release: Release, live: Mapping[str, LiveDeployment], work_pools: Mapping[str, Spec]) -> Plan:
    """The plan from what is live back to what was there before a release, every field of it.

    Work pools that it made are not among it: others may use them by now.
    """
    changes = [_back(key, image, live.get(key), release) for key, image in sorted(release.preimages.items())]
    pools = [_pool_back(name, image, work_pools.get(name)) for name, image in release.work_pool_preimages.items()]
    return Plan(
        project=release.project,
        environment=release.environment,
        work_pools=tuple(change for change in pools if change.fields),
        changes=tuple(change for change in changes if change is not None),
    )


def _pool_back(name: str, image: Spec, now: Spec | None) -> WorkPoolChange:
    return WorkPoolChange(
        name=name,
        type=image["type"],
        action="create" if now is None else "update",
        fields=difference(now or {}, image),
        target=dict(image),
        live=None if now is None else dict(now),
    )


def _back(key: str, image: LiveDeployment | None, now: LiveDeployment | None, release: Release) -> Change | None:
    kind = next((change.kind for change in release.plan.changes if change.key == key), "")
    if image is None:
        if now is None:
            return None
        return Change(action="delete", flow_name=now.flow_name, name=now.name, kind=kind, reason="undone", live=now)
    if now:
        now = matched(unmatched(now, image.schedule_ids), image.spec["schedules"])
    fields = difference(now.spec if now else {}, image.spec)
    return Change(
        action="create" if now is None else "update" if fields else "unchanged",
        flow_name=image.flow_name,
        name=image.name,
        kind=kind,
        reason="restored" if now is None or fields else "",
        fields=fields,
        target=image.spec,
        live=now,
    )


def take_over(release: Release, abandoned: Release | None) -> Release:
    """A release that, where it fails, goes back to what stood before one that was left unfinished."""
    if abandoned is None:
        return release
    plan = release.plan.model_copy(
        update={
            "flows": _union(abandoned.plan.flows, release.plan.flows),
            "work_pools": _union(abandoned.plan.work_pools, release.plan.work_pools),
            "work_queues": _union(abandoned.plan.work_queues, release.plan.work_queues),
        }
    )
    return release.model_copy(
        update={
            "plan": plan,
            "preimages": {**release.preimages, **abandoned.preimages},
            "previous": {**release.previous, **abandoned.previous},
            "work_pool_preimages": {**release.work_pool_preimages, **abandoned.work_pool_preimages},
            "previous_work_pools": abandoned.previous_work_pools,
        }
    )


def _union(*groups: Iterable[object]) -> tuple[object, ...]:
    unique: list[object] = []
    for group in groups:
        unique += [item for item in group if item not in unique]
    return tuple(unique)
