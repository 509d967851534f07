"""What differs between two specs, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meta_flows.configuration.secrets import masked_pair
from meta_flows.models import FieldChange
from meta_flows.planning.merging import ABSENT
from meta_flows.resources import ResourceType, Spec, join


def difference(
    resource_type: ResourceType, live: Spec, target: Spec, released: Spec | None = None
) -> tuple[FieldChange, ...]:
    """Return the fields in which `target` differs from `live`, in the order of their paths, secrets masked.

    A field counts as drift where the last release declared another value than the live one.
    """
    return tuple(_changes(resource_type, live, target, released or {}, ""))


def _changes(resource_type: ResourceType, live: Spec, target: Spec, released: Spec, path: str) -> Iterator[FieldChange]:
    for key in sorted({*live, *target}):
        inner = join(path, key)
        old, new, stated = (spec.get(key, ABSENT) for spec in (live, target, released))
        said_nothing = old == {} and resource_type.is_merged(inner)  # Prefect 3.4 leaves that of what is taken out
        if old == new or (new is ABSENT and (not path or said_nothing)):
            continue
        if resource_type.is_merged(inner) and isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(resource_type, old, new, stated if isinstance(stated, Mapping) else {}, inner)
            continue
        before, after = masked_pair(inner, None if old is ABSENT else old, None if new is ABSENT else new)
        yield FieldChange(
            path=inner,
            old=before,
            new=after,
            drift=stated is not ABSENT and _drifted(resource_type, stated, old, inner),
        )


def _drifted(resource_type: ResourceType, released: Any, live: Any, path: str) -> bool:
    """Whether something that was released is not so any more; what others added beside it does not count."""
    if path in resource_type.sets:
        return live is ABSENT or not set(released) <= set(live)
    if resource_type.is_merged(path) and isinstance(released, Mapping) and isinstance(live, Mapping):
        return any(
            _drifted(resource_type, value, live.get(key, ABSENT), join(path, key)) for key, value in released.items()
        )
    return bool(released != live)
