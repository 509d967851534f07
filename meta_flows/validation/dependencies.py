"""Rules on what a flow imports: declared, there, and of one version."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from itertools import combinations
from pathlib import PurePosixPath

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from meta_flows.diagnostics import diagnostic
from meta_flows.discovery.distributions import distributions, is_installed
from meta_flows.models import Diagnostic, FlowMetadata, ImportedModule
from meta_flows.validation.requirements import Declared, Requires

Wanted = tuple[str, frozenset[str]]
"""A distribution and the extras that it is wanted with."""

USUAL_FILES = ("requirements.txt", "requirements.in", "pyproject.toml")
"""Files of other names may be alternatives: they declare, but need not agree."""

ALWAYS_THERE: Wanted = ("prefect", frozenset())
"""Whatever runs a flow has it, and so what it requires."""


def check_dependencies(flow: FlowMetadata, declared: Declared) -> Iterator[Diagnostic]:
    """What is wrong with what a flow, and the repository's modules that it imports, need."""
    yield from declared.errors
    wanted = frozenset(_wanted(item.requirement) for item in declared.requirements if _holds(item.requirement.marker))
    yield from _unresolved(flow, {name for name, _ in wanted})
    yield from _undeclared(flow, wanted, declared)
    yield from _contradictions(flow, declared)


def _unresolved(flow: FlowMetadata, names: Collection[str]) -> Iterator[Diagnostic]:
    for item in flow.imports:
        head = item.module.partition(".")[0]
        if item.missing and (not head or canonicalize_name(head) not in names):
            yield diagnostic("MF122", item.place, module=item.module, missing=item.missing)


def _undeclared(flow: FlowMetadata, wanted: frozenset[Wanted], declared: Declared) -> Iterator[Diagnostic]:
    """Imports that no requirement provides, itself or by what it requires in turn.

    What a distribution that is not installed here provides and requires is not known. As long as there is one, what is
    said is a warning; and one that no import is named after may provide what is not installed either.
    """
    if not (declared.files and declared.complete):
        return
    first: dict[str, ImportedModule] = {}
    for item in flow.imports:
        if not item.missing:
            first.setdefault(item.module.partition(".")[0], item)
    provided = _closure(wanted | {ALWAYS_THERE})
    providers = {head: distributions([head]) for head in first}
    named_after = {name for found in providers.values() for name in found}
    unknown = {name for name, _ in wanted if _requires(name) is None}
    for head, item in first.items():
        if not provided.isdisjoint(providers[head]):
            continue
        here = is_installed(head, partly=True)
        if here or unknown <= named_after:
            files = ", ".join(dict.fromkeys(declared.files))
            facts = {"module": head, "files": files, "distribution": " or ".join(providers[head])}
            error = diagnostic("MF121", item.place, **facts)
            yield error.as_warning() if unknown else error


def _contradictions(flow: FlowMetadata, declared: Declared) -> Iterator[Diagnostic]:
    """Versions of what the flow imports that are asked for in vain."""
    by_name: dict[str, list[Requires]] = {name: [] for name in flow.dependencies}
    for item in declared.requirements:
        found = by_name.get(canonicalize_name(item.requirement.name))
        usual = PurePosixPath(item.place.path).name in USUAL_FILES or item.place.path == flow.path
        if found is not None and usual and item.requirement.specifier and _holds(item.requirement.marker):
            found.append(item)
    for name, items in by_name.items():
        distinct = {str(item.requirement.specifier): item for item in items}.values()
        for one, other in combinations(distinct, 2):
            if not _agree(one.requirement, other.requirement):
                stated = {"here": one.requirement.specifier, "there": other.requirement.specifier}
                yield diagnostic("MF123", one.place, name=name, other=other.place, **stated)
        installed = _installed_version(name)
        for item in distinct:
            if installed and not item.requirement.specifier.contains(installed, prereleases=True):
                yield diagnostic("MF124", item.place, requirement=item.requirement, installed=installed)


def _agree(one: Requirement, other: Requirement) -> bool:
    """Whether some version fits both: one that they name, the next after it, or the very first."""
    both = one.specifier & other.specifier
    named = [item.version.removesuffix(".*") for item in both if item.operator != "==="]
    candidates = {"0", *named, *(f"{Version(text).public}.1" for text in named if not Version(text).is_prerelease)}
    return any(both.contains(candidate, prereleases=True) for candidate in candidates)


def may_require(name: str, other: str) -> bool:
    """Whether a distribution requires another one, or is not installed here, so that it is not known."""
    return _requires(name) is None or other in _closure(frozenset({(name, frozenset[str]())}))


@cache
def _closure(wanted: frozenset[Wanted]) -> frozenset[str]:
    """The names of distributions with these extras, and of all that they require in turn, as installed here."""
    found, todo = set(wanted), set(wanted)
    while todo:
        todo = {inner for name, extras in todo for inner in _requires(name, extras) or ()} - found
        found |= todo
    return frozenset(name for name, _ in found)


@cache
def _requires(name: str, extras: frozenset[str] = frozenset()) -> frozenset[Wanted] | None:
    """What an installed distribution requires, with some of its extras; None for one that is not installed."""
    try:
        stated: Iterable[str] = distribution(name).requires or ()
    except PackageNotFoundError:
        return None
    requirements = (_parsed(text) for text in stated)
    return frozenset(_wanted(item) for item in requirements if item and _holds(item.marker, extras))


def _parsed(text: str) -> Requirement | None:
    """A requirement of an installed distribution; None for one of the time before there were rules."""
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _holds(marker: Marker | None, extras: Iterable[str] = ()) -> bool:
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _wanted(requirement: Requirement) -> Wanted:
    return canonicalize_name(requirement.name), frozenset(requirement.extras)


@cache
def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
