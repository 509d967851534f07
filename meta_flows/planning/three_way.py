"""Merge desired, released and live into the spec to reach, and list the fields in which two specs differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from operator import eq, le
from typing import Any

from meta_flows.configuration.secrets import masked_pair
from meta_flows.models import FieldChange
from meta_flows.resources import ResourceType, Spec, join

ABSENT = object()


def merge(resource_type: ResourceType, desired: Spec, released: Spec, live: Spec, path: str = "") -> dict[str, Any]:
    """Return the spec to reach, from whole specs or from the mappings at a dotted path in them.

    `released` is empty for a resource that was never released, `live` for one to be created.
    """
    target: dict[str, Any] = {}
    for key in sorted({*live, *desired, *released}):
        inner = join(path, key)
        if key in desired:
            target[key] = _merged_value(resource_type, desired[key], released.get(key), live.get(key), inner)
        elif key in released:
            if reset := resource_type.reset(inner):
                target[key] = resource_type.resets[reset]
        else:
            target[key] = live[key]
    return target


def _merged_value(resource_type: ResourceType, desired: Any, released: Any, live: Any, path: str) -> Any:
    if path in resource_type.sets:
        others = sorted(set(live or ()) - set(released or ()) - set(desired))
        return live if live is not None and set(live) == {*desired, *others} else [*desired, *others]
    if resource_type.is_merged(path) and isinstance(desired, Mapping):
        return merge(resource_type, desired, _mapping(released), _mapping(live), path)
    return desired


def _mapping(value: Any) -> Spec:
    return value if isinstance(value, Mapping) else {}


def reverted(
    resource_type: ResourceType, written: Sequence[Spec], before: Spec, live: Spec
) -> tuple[dict[str, Any], list[str]]:
    """Undo writes field by field: a field that is still as it was written becomes what it was before.

    Several specs may have been written: where one release continued another.

    Returns:
        The spec to reach, and the paths of the fields that another client has changed since.
    """
    changed_by_others: list[str] = []
    target = _reverted(resource_type, written, before, live, "", changed_by_others)
    if any(target.get(key) != live.get(key) for key in resource_type.coupled):
        target |= {key: before[key] for key in resource_type.coupled if key in before}
        changed_by_others = [path for path in changed_by_others if path not in resource_type.coupled]
    return target, changed_by_others


def _reverted(
    resource_type: ResourceType, written: Sequence[Spec], before: Spec, live: Spec, path: str, others: list[str]
) -> dict[str, Any]:
    target: dict[str, Any] = {}
    for key in sorted({*before, *live, *(key for spec in written for key in spec)}):
        inner = join(path, key)
        ours = [spec.get(key, ABSENT) for spec in written]
        earlier, now = before.get(key, ABSENT), live.get(key, ABSENT)
        if resource_type.is_merged(inner) and isinstance(earlier, Mapping) and isinstance(now, Mapping):
            mappings = [item for item in ours if isinstance(item, Mapping)]
            target[key] = _reverted(resource_type, mappings, earlier, now, inner, others)
            continue
        value = now
        if any(_holds(resource_type, item, now, inner, sets=eq) for item in ours):
            value = earlier
        elif inner in resource_type.sets and isinstance(now, list) and isinstance(earlier, list):
            added = {member for item in ours for member in item} - {*earlier}
            value = [*(member for member in now if member not in added), *(m for m in earlier if m not in now)]
        elif now is ABSENT and resource_type.is_replaced(inner):
            value = earlier
        elif now != earlier:
            others.append(inner)
        if value is not ABSENT:
            target[key] = value
    return target


def _holds(
    resource_type: ResourceType, declared: Any, live: Any, path: str, *, sets: Callable[[Set[Any], Set[Any]], bool]
) -> bool:
    """Return whether a live value is as declared, apart from keys that were added to its mappings.

    `sets` compares the members of lists whose order is irrelevant: to be equal, or to have at least those declared.
    """
    if resource_type.is_merged(path) and isinstance(declared, Mapping) and isinstance(live, Mapping):
        return all(
            _holds(resource_type, value, live.get(key, ABSENT), join(path, key), sets=sets)
            for key, value in declared.items()
        )
    if path in resource_type.sets and isinstance(declared, list) and isinstance(live, list):
        return sets({*declared}, {*live})
    return bool(declared == live)


def difference(
    resource_type: ResourceType, live: Spec, target: Spec, released: Spec | None = None
) -> tuple[FieldChange, ...]:
    """Return the fields in which `target` differs from `live`, in the order of their paths, with secrets masked.

    A field has drifted where its live value is not what the last release declared.
    """
    return tuple(_changes(resource_type, live, target, released or {}, ""))


def _changes(resource_type: ResourceType, live: Spec, target: Spec, released: Spec, path: str) -> Iterator[FieldChange]:
    for key in sorted({*live, *target}):
        inner = join(path, key)
        old, new, declared = (spec.get(key, ABSENT) for spec in (live, target, released))
        left_empty = old == {} and resource_type.is_merged(inner)  # by Prefect 3.4, of a mapping that is removed
        if old == new or (new is ABSENT and (not path or left_empty)):
            continue
        if resource_type.is_merged(inner) and isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(resource_type, old, new, _mapping(declared), inner)
            continue
        before, after = masked_pair(inner, None if old is ABSENT else old, None if new is ABSENT else new)
        drift = declared is not ABSENT and not _holds(resource_type, declared, old, inner, sets=le)
        yield FieldChange(path=inner, old=before, new=after, drift=drift)
