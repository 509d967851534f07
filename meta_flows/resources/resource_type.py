"""What a resource type has to say about itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol

from meta_flows.models import Change, LiveResource, Ownership

Spec = Mapping[str, Any]

PAGE = 200
"""The most that one filter request returns; more is refused with 422."""


class Send(Protocol):
    """Makes one request to the Prefect API and returns the JSON of the answer; a DELETE of what is gone is no error."""

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """Send it.

        Raises:
            MetaFlowsError: The server could not be reached, or refused it.
        """


class Declared(NamedTuple):
    """One resource's specs, ready to be merged.

    Attributes:
        desired: What is declared, with what the type itself adds.
        start: What the merge starts from: the live spec, or what a new resource has by itself.
    """

    desired: Spec
    start: Spec


def _as_they_are(desired: Spec, released: Spec, live: Spec | None, default: Callable[[str], Spec]) -> Declared:
    return Declared(desired, live or {})


@dataclass(frozen=True)
class ResourceType:
    """A type of resource.

    Attributes:
        name: As in the API's JSON, e.g. `work_pool`.
        title: In words, for messages.
        merged: Patterns of dotted paths whose mappings are merged key by key, `**` for all below; others are one value.
        sets: Lists whose order says nothing and whose members are separate decisions.
        resets: What a field becomes when it is no longer declared; other keys are taken out instead.
        tagged: Whether ownership is told by tags; otherwise what a release has recorded is ours.
        unowned: Code of the diagnostic for one that exists and is not ours.
        read: Yields the resources of some keys that the server has.
        read_owned: Yields those that carry our tags; only where `tagged`.
        create: Creates one as a change says.
        update: Sends what differs between live and target.
        path: Path of one in the API, to delete it.
        replaced: Patterns of what is changed by deleting it and creating it anew: in the middle of that it is missing.
        coupled: Fields that the server changes together: an undo of one of them brings all of them back.
        prunable: Whether one that is no longer declared can be deleted; otherwise only what a failed release created.
        needs: Addresses of the resources that one of this spec cannot do without.
        aligned: Live, with its parts under the keys by which a spec has them.
        original: Live, with its parts under the keys that they had in an earlier state.
        prepared: Specs before the merge.
        resumed: Where one takes another's place: the start of a merge that was cut short before it took all over.
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
    prepared: Callable[[Spec, Spec, Spec | None, Callable[[str], Spec]], Declared] = _as_they_are
    resumed: Callable[[Spec, Spec], Spec] = lambda start, taken_over: start

    def is_merged(self, path: str) -> bool:
        """Whether the mapping at a dotted path is merged key by key."""
        return any(
            path == pattern.removesuffix(".**") or path.startswith(pattern.removesuffix("**"))
            if pattern.endswith(".**")
            else _matches(path, pattern)
            for pattern in self.merged
        )

    def is_replaced(self, path: str) -> bool:
        """Whether what stands at a dotted path may be missing because an update was cut off."""
        return any(_matches(path, pattern) for pattern in self.replaced)

    def reset(self, path: str) -> str | None:
        """Return the key of `resets` for a dotted path, if there is one."""
        return next((pattern for pattern in self.resets if _matches(path, pattern)), None)

    def owns(self, live: LiveResource, ownership: Ownership, released: Collection[str]) -> bool:
        """Whether a resource is ours to change.

        Args:
            live: The resource.
            ownership: Whose we are.
            released: Addresses of what the release record says is ours.
        """
        return {*ownership.tags} <= {*live.spec["tags"]} if self.tagged else live.address in released


def join(path: str, key: str) -> str:
    """The dotted path of a key within the mapping at `path`."""
    return f"{path}.{key}" if path else key


def _matches(path: str, pattern: str) -> bool:
    return pattern.count(".") == path.count(".") and fnmatchcase(path, pattern)


def read_all(send: Send, collection: str, **body: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a filter finds, page by page."""
    offset = 0
    while True:
        page = send("POST", f"/{collection}/filter", {"limit": PAGE, "offset": offset, **body})
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE
