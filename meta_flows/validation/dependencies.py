"""Rules on what a flow imports: declared, there, and of one version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from itertools import combinations

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from meta_flows.discovery.distributions import distributions, is_installed
from meta_flows.errors import problem
from meta_flows.models import FlowMetadata, ImportedModule, ValidationError
from meta_flows.validation.requirements import Declared, Requires

ALWAYS_THERE = "prefect"
"""Whatever runs a flow has it, and so what it requires."""


def check_dependencies(flow: FlowMetadata, declared: Declared) -> Iterator[ValidationError]:
    """What is wrong with what a flow, and the repository's modules that it imports, need."""
    yield from declared.errors
    names = frozenset(canonicalize_name(item.requirement.name) for item in declared.requirements if _applies(item))
    yield from _unresolved(flow, names)
    yield from _undeclared(flow, names, declared)
    yield from _contradictions(flow, declared)


def _unresolved(flow: FlowMetadata, names: frozenset[str]) -> Iterator[ValidationError]:
    for item in flow.imports:
        head = item.module.partition(".")[0]
        if item.missing and (not head or canonicalize_name(head) not in names):
            yield problem("MF122", item.place, module=item.module, missing=item.missing)


def _undeclared(flow: FlowMetadata, names: frozenset[str], declared: Declared) -> Iterator[ValidationError]:
    """Imports that no requirement provides, itself or by what it requires in turn.

    What a distribution that is not installed here provides is not known. As long as there is one that no import is
    named after, it may be the one that provides the others that are not installed.
    """
    first: dict[str, ImportedModule] = {}
    for item in flow.imports:
        if not item.missing:
            first.setdefault(item.module.partition(".")[0], item)
    provided = _closure(names | {ALWAYS_THERE})
    providers = {head: distributions([head]) for head in first}
    named_after = {name for found in providers.values() for name in found}
    unaccounted = any(_requires(name) is None for name in names - named_after)
    for head, item in first.items():
        if not provided.isdisjoint(providers[head]):
            continue
        here = is_installed(head, partly=True)
        if (here and declared.complete and declared.files) or not (here or unaccounted or not declared.complete):
            files = ", ".join(dict.fromkeys(declared.files)) or "a requirements.txt (there is none)"
            yield problem("MF121", item.place, module=head, files=files, distribution=" or ".join(providers[head]))


def _contradictions(flow: FlowMetadata, declared: Declared) -> Iterator[ValidationError]:
    """Versions of what the flow imports that are asked for in vain."""
    by_name: dict[str, list[Requires]] = {name: [] for name in flow.dependencies}
    for item in declared.requirements:
        found = by_name.get(canonicalize_name(item.requirement.name))
        if found is not None and item.requirement.specifier and _applies(item):
            found.append(item)
    for name, items in by_name.items():
        distinct = {str(item.requirement.specifier): item for item in items}.values()
        for one, other in combinations(distinct, 2):
            if not _agree(one.requirement, other.requirement):
                stated = {"here": one.requirement.specifier, "there": other.requirement.specifier}
                yield problem("MF123", one.place, name=name, other=other.place, **stated)
        installed = _installed_version(name)
        for item in distinct:
            if installed and not item.requirement.specifier.contains(installed, prereleases=True):
                yield problem("MF124", item.place, requirement=item.requirement, installed=installed)


def _applies(item: Requires) -> bool:
    marker = item.requirement.marker
    return marker is None or marker.evaluate({"extra": ""})


def _agree(one: Requirement, other: Requirement) -> bool:
    """Whether some version fits both: one that they name, the next after it, or the very first."""
    both = one.specifier & other.specifier
    named = [specifier.version.removesuffix(".*") for specifier in both]
    candidates = {"0", *named, *(f"{Version(text).public}.1" for text in named if not Version(text).is_prerelease)}
    return any(both.contains(candidate, prereleases=True) for candidate in candidates)


@cache
def _closure(names: frozenset[str]) -> frozenset[str]:
    """These distributions and all that they require in turn, as far as they are installed here."""
    found, todo = set[str](), set(names)
    while todo:
        found |= todo
        todo = {inner for name in todo for inner in _requires(name) or ()} - found
    return frozenset(found)


@cache
def _requires(name: str) -> frozenset[str] | None:
    """What an installed distribution requires; None for one that is not installed."""
    try:
        stated: Iterable[str] = distribution(name).requires or ()
    except PackageNotFoundError:
        return None
    requirements = [Requirement(text) for text in stated]
    return frozenset(
        canonicalize_name(item.name)
        for item in requirements
        if item.marker is None or "extra" in str(item.marker) or item.marker.evaluate()
    )


@cache
def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
