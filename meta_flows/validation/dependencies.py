"""Rules on what a flow imports: it is declared, it exists, and its versions agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
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
from meta_flows.validation.requirements import Declared, DeclaredRequirement

Dependency = tuple[str, frozenset[str]]
"""The normalised name of a distribution, and its extras."""

USUAL_FILES = ("requirements.txt", "requirements.in", "pyproject.toml")
"""Files of other names may be alternatives: they declare requirements, but need not agree."""

ALWAYS_INSTALLED: Dependency = ("prefect", frozenset())
"""Every environment that runs a flow has it, and what it requires."""


def check_dependencies(flow: FlowMetadata, declared: Declared) -> Iterator[Diagnostic]:
    """Check what a flow, and the repository's modules that it imports, need from elsewhere."""
    yield from declared.errors
    required = frozenset(
        _dependency(item.requirement) for item in declared.requirements if applies(item.requirement.marker)
    )
    yield from _check_local_imports(flow, {name for name, _ in required})
    yield from _check_declared(flow, required, declared)
    yield from _check_versions(flow, declared)


def _check_local_imports(flow: FlowMetadata, required: Collection[str]) -> Iterator[Diagnostic]:
    for item in flow.imports:
        head = item.module.partition(".")[0]
        if item.missing and (not head or canonicalize_name(head) not in required):
            yield diagnostic("MF122", item.place, module=item.module, missing=item.missing)


def _check_declared(flow: FlowMetadata, required: frozenset[Dependency], declared: Declared) -> Iterator[Diagnostic]:
    """Report imports that no requirement provides, directly or through its own requirements.

    The modules and requirements of a distribution that is not installed here are unknown. While one is declared, all
    findings are warnings; and it may provide a module that is not installed here either, unless an import has its name.
    """
    if not (declared.files and declared.complete):
        return
    first: dict[str, ImportedModule] = {}
    for item in flow.imports:
        if not item.missing:
            first.setdefault(item.module.partition(".")[0], item)
    provided = _closure(required | {ALWAYS_INSTALLED})
    providers = {head: distributions([head]) for head in first}
    named_after = {name for found in providers.values() for name in found}
    unknown = {name for name, _ in required if _requires(name) is None}
    for head, item in first.items():
        if not provided.isdisjoint(providers[head]):
            continue
        if is_installed(head, partly=True) or unknown <= named_after:
            files = ", ".join(dict.fromkeys(declared.files))
            facts = {"module": head, "files": files, "distribution": " or ".join(providers[head])}
            error = diagnostic("MF121", item.place, **facts)
            yield error.as_warning() if unknown else error


def _check_versions(flow: FlowMetadata, declared: Declared) -> Iterator[Diagnostic]:
    """Report requirements of what the flow imports that contradict each other or the installed version."""
    by_name: dict[str, list[DeclaredRequirement]] = {name: [] for name in flow.dependencies}
    for item in declared.requirements:
        found = by_name.get(canonicalize_name(item.requirement.name))
        usual = PurePosixPath(item.place.path).name in USUAL_FILES or item.place.path == flow.path
        if found is not None and usual and item.requirement.specifier and applies(item.requirement.marker):
            found.append(item)
    for name, items in by_name.items():
        distinct = {str(item.requirement.specifier): item for item in items}.values()
        for one, other in combinations(distinct, 2):
            if not _agree(one.requirement, other.requirement):
                specifiers = {"here": one.requirement.specifier, "there": other.requirement.specifier}
                yield diagnostic("MF123", one.place, name=name, other=other.place, **specifiers)
        installed = _installed_version(name)
        for item in distinct:
            if installed and not item.requirement.specifier.contains(installed, prereleases=True):
                yield diagnostic("MF124", item.place, requirement=item.requirement, installed=installed)


def _agree(one: Requirement, other: Requirement) -> bool:
    """Return whether some version fits both: one that they name, the next after it, or the very first."""
    both = one.specifier & other.specifier
    named = [item.version.removesuffix(".*") for item in both if item.operator != "==="]
    candidates = {"0", *named, *(f"{Version(text).public}.1" for text in named if not Version(text).is_prerelease)}
    return any(both.contains(candidate, prereleases=True) for candidate in candidates)


def may_require(name: str, other: str) -> bool:
    """Return whether a distribution requires another one; True for one that is not installed here."""
    return _requires(name) is None or other in _closure(frozenset({(name, frozenset[str]())}))


@cache
def _closure(dependencies: frozenset[Dependency]) -> frozenset[str]:
    """Return the names of some distributions, and of all that they require in turn, as installed here."""
    found, todo = set(dependencies), set(dependencies)
    while todo:
        todo = {inner for name, extras in todo for inner in _requires(name, extras) or ()} - found
        found |= todo
    return frozenset(name for name, _ in found)


@cache
def _requires(name: str, extras: frozenset[str] = frozenset()) -> frozenset[Dependency] | None:
    """Return what an installed distribution requires, with some of its extras; None if it is not installed."""
    try:
        texts = distribution(name).requires or ()
    except PackageNotFoundError:
        return None
    found = set[Dependency]()
    for text in texts:
        with suppress(InvalidRequirement):  # of metadata older than the standard
            requirement = Requirement(text)
            if applies(requirement.marker, extras):
                found.add(_dependency(requirement))
    return frozenset(found)


def applies(marker: Marker | None, extras: Iterable[str] = ()) -> bool:
    """Return whether a requirement with this marker applies here, without extras or with one of them."""
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _dependency(requirement: Requirement) -> Dependency:
    return canonicalize_name(requirement.name), frozenset(requirement.extras)


@cache
def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
