"""From desired, released and live deployments to a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from meta_flows.errors import problem
from meta_flows.models import Change, Deployment, LiveDeployment, Plan, ValidationError
from meta_flows.planning.differences import difference
from meta_flows.planning.merging import Spec, merge
from meta_flows.planning.schedules import matched
from meta_flows.planning.surplus import Prune, deletions

Live = Mapping[str, LiveDeployment]
Released = Mapping[str, Deployment]


def ownership_tags(project: str, environment: str) -> tuple[str, str]:
    """The tags that make a deployment ours to change; the server can filter by tags, not by labels."""
    return f"project:{project}", f"environment:{environment}"


class Policy(NamedTuple):
    """What a plan may do beside creating and updating what is ours.

    Attributes:
        adopt: Take over a deployment of the same flow and name that is not ours.
        prune: What to do about deployments that nobody asks for any more.
    """

    adopt: bool = False
    prune: Prune = Prune()


def make_plan(
    desired: Iterable[Deployment],
    released: Released,
    live: Live,
    *,
    project: str,
    environment: str,
    policy: Policy = Policy(),  # noqa: B008  # a tuple
) -> Plan:
    """Decide what to do about each deployment.

    Args:
        desired: What the repository asks for.
        released: What the last release put on the server, by deployment key.
        live: What the server has, by deployment key.
        project: Name in the ownership tag.
        environment: Long name of the environment.
        policy: What the plan may do besides.

    Raises:
        MetaFlowsError: MF513, more than the stated share would be deleted.
    """
    owner = set(ownership_tags(project, environment))
    owned = {key: item for key, item in live.items() if owner <= set(item.spec["tags"])}
    wanted = {deployment.key: deployment for deployment in desired}
    replaced: dict[str, str] = {}
    changes: list[Change] = []
    refused: list[ValidationError] = []
    for deployment in sorted(wanted.values(), key=lambda item: item.name):
        existing = live.get(deployment.key)
        predecessor = _predecessor(deployment, owned)
        if existing is not None and deployment.key not in owned and not policy.adopt:
            refused.append(problem("MF501", key=deployment.key, project=project))
        elif predecessor and predecessor.key in wanted:
            refused.append(problem("MF515", key=deployment.key, replaced=predecessor.key))
        else:
            if predecessor:
                replaced[predecessor.key] = deployment.name
            changes.append(_change(deployment, released, existing, predecessor))
    surplus = {key: item for key, item in owned.items() if key not in wanted}
    deleted, kept = deletions(surplus, replaced, of=len(owned), prune=policy.prune)
    kinds = {key: item.kind for key, item in released.items()}
    changes += [change.model_copy(update={"kind": kinds.get(change.key, "")}) for change in deleted]
    return Plan(
        project=project,
        environment=environment,
        changes=tuple(changes),
        refused=tuple(refused),
        kept=kept,
        digest=digest(changes),
    )


def _predecessor(deployment: Deployment, owned: Live) -> LiveDeployment | None:
    """The owned deployment whose place this one takes: another name, or the same name of a flow that was renamed."""
    others = (item for key, item in sorted(owned.items()) if key != deployment.key)
    return next((item for item in others if item.name == deployment.replaces), None)


def _change(
    deployment: Deployment, released: Released, existing: LiveDeployment | None, predecessor: LiveDeployment | None
) -> Change:
    """What to do about one deployment; one that takes another's place begins as that one is, pauses included."""

    def released_spec(model: LiveDeployment | None) -> Spec:
        return released[model.key].spec if model and model.key in released else {}

    model = existing or predecessor
    stated = released_spec(model)
    before = matched(model, deployment.spec["schedules"]) if model else None
    start: Spec = before.spec if before else {}
    if existing and predecessor and not start["schedules"]:  # cut short after it was created, before it got them
        successor = matched(predecessor, deployment.spec["schedules"])
        taken_over = merge(deployment.spec, released_spec(predecessor), successor.spec)
        start = {**start, "schedules": taken_over["schedules"]}
    target = merge(deployment.spec, stated, start)
    live = before if existing else None
    last = released.get(deployment.key)
    fields = difference(live.spec if live else {}, target, last.spec if last else {})
    return Change(
        action="create" if live is None else "update" if fields else "unchanged",
        flow_name=deployment.flow_name,
        name=deployment.name,
        kind=deployment.kind,
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
        names: What to put for certain texts, such as for a digest of an image that nobody knows before it is built.
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
