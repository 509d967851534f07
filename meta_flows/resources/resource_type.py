"""The description of a resource type."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

from meta_flows.models import Change, LiveResource, Ownership

Spec = Mapping[str, Any]

PAGE = 200
"""Largest page that the API returns; it rejects a larger limit with 422."""


class Send(Protocol):
    """Makes one request to the Prefect API and returns the JSON of the answer; DELETE succeeds if nothing is there."""

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """Make the request.

        Raises:
            MetaFlowsError: The server did not answer, or rejected the request.
        """


@dataclass(frozen=True)
class ResourceType:
    """A type of resource.

    Attributes:
        name: Name in the API's JSON, e.g. `work_pool`.
        title: Name in messages.
        merged: Patterns of dotted paths whose mappings are merged key by key, `**` for any depth; other mappings are
            replaced as a whole.
        sets: Lists whose order is irrelevant and whose members are merged one by one.
        resets: Values of fields that are no longer declared; other fields are removed.
        tagged: Whether tags tell the owner; otherwise what a release has recorded is ours.
        unowned: Code of the diagnostic for a resource that exists and is not ours.
        read: Yields the resources of these keys that exist.
        read_owned: Yields the resources with our tags; only for tagged types.
        create: Creates the resource of a change, given the known ids of flows by name.
        update: Sends the fields in which a resource differs from its target.
        path: Returns the path of a resource in the API, to delete it.
        replaced: Patterns of parts that are changed by deleting and creating them: an interrupted update loses them.
        coupled: Fields that the server changes together: undoing one of them restores all of them.
        prunable: Whether one that is no longer declared can be deleted; otherwise only what a failed release created.
        needs: Returns the addresses of the resources that a resource with this spec needs.
        aligned: Returns a live resource with its parts under the keys that a spec has for them.
        original: Returns a live resource with its parts under the keys that they had in an earlier state.
        prepared: Returns the desired spec and the spec from which the merge starts, from desired, released and live.
        resumed: Returns the start of a merge for a resource that replaces another and was created but not completed.
    """

    name: str
    title: str
    tagged: bool
    unowned: str
    merged: tuple[str, ...]
    read: Callable[[Send, Collection[str]], Iterator[LiveResource]]
    create: Callable[[Send, Change, dict[str, str]], None]
    update: Callable[[Send, LiveResource, Spec], None]
    path: Callable[[LiveResource], str]
    read_owned: Callable[[Send, Ownership], Iterator[LiveResource]] | None = None
    sets: tuple[str, ...] = ()
    resets: Mapping[str, Any] = field(default_factory=dict)
    coupled: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    prunable: bool = True
    needs: Callable[[Spec], tuple[str, ...]] = lambda spec: ()
    aligned: Callable[[LiveResource, Spec], LiveResource] = lambda live, spec: live
    original: Callable[[LiveResource, LiveResource], LiveResource] = lambda live, earlier: live
    prepared: Callable[[Spec, Spec, Spec | None, Callable[[str], Spec]], tuple[Spec, Spec]] = (
        lambda desired, released, live, default: (desired, live or {})
    )
    resumed: Callable[[Spec, Spec], Spec] = lambda start, taken_over: start

    def is_merged(self, path: str) -> bool:
        """Return whether the mapping at a dotted path is merged key by key."""
        return any(_matches(path, pattern) for pattern in self.merged)

    def is_replaced(self, path: str) -> bool:
        """Return whether an interrupted update may lose the part at a dotted path."""
        return any(_matches(path, pattern) for pattern in self.replaced)

    def reset(self, path: str) -> str | None:
        """Return the key of `resets` for a dotted path, if there is one."""
        return next((pattern for pattern in self.resets if _matches(path, pattern)), None)

    def owns(self, live: LiveResource, ownership: Ownership, released: Collection[str]) -> bool:
        """Return whether a resource is ours, by its tags or by the released addresses."""
        return {*ownership.tags} <= {*live.spec["tags"]} if self.tagged else live.address in released


def join(path: str, key: str) -> str:
    """Return the dotted path of a key within the mapping at `path`."""
    return f"{path}.{key}" if path else key


def _matches(path: str, pattern: str) -> bool:
    if pattern.endswith(".**"):
        return f"{path}.".startswith(pattern.removesuffix("**"))
    return pattern.count(".") == path.count(".") and fnmatchcase(path, pattern)


def read_all(send: Send, collection: str, **body: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a filter of the API finds, page by page."""
    offset = 0
    while True:
        page = send("POST", f"/{collection}/filter", {"limit": PAGE, "offset": offset, **body})
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE
