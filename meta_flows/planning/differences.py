"""What differs between two specs, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meta_flows.configuration.secrets import masked
from meta_flows.models import FieldChange
from meta_flows.planning.merging import SETS, Spec, is_merged, join

ABSENT = object()


def difference(live: Spec, target: Spec, released: Spec | None = None) -> tuple[FieldChange, ...]:
    """The fields in which `target` differs from `live`, in the order of their paths, secrets masked.

    A field counts as drift where the last release stated another value than the live one.
    """
    return tuple(_changes(live, target, {} if released is None else released, ""))


def _changes(live: Spec, target: Spec, released: Spec, path: str) -> Iterator[FieldChange]:
    for key in sorted({*live, *target}):
        inner = join(path, key)
        old, new, stated = (spec.get(key, ABSENT) for spec in (live, target, released))
        if old == new or (new is ABSENT and not path):
            continue
        if is_merged(inner) and isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, stated if isinstance(stated, Mapping) else {}, inner)
            continue
        yield FieldChange(
            path=inner,
            old=masked(inner, None if old is ABSENT else old),
            new=masked(inner, None if new is ABSENT else new),
            drift=stated is not ABSENT and _drifted(stated, old, inner),
        )


def _drifted(released: Any, live: Any, path: str) -> bool:
    """Whether something that was released is not so any more; what others added beside it does not count."""
    if path in SETS:
        return live is ABSENT or not set(released) <= set(live)
    if is_merged(path) and isinstance(released, Mapping) and isinstance(live, Mapping):
        return any(_drifted(value, live.get(key, ABSENT), join(path, key)) for key, value in released.items())
    return bool(released != live)
