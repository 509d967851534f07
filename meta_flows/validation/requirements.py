"""What a repository declares that its flows need: requirements files, pyproject.toml, inline script metadata."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from posixpath import normpath
from typing import Any, NamedTuple

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from meta_flows.configuration.reading import read_text
from meta_flows.configuration.secrets import masked
from meta_flows.diagnostics import MetaFlowsError, diagnostic, refuse, result_or_error
from meta_flows.discovery.tree import join, parent
from meta_flows.files import is_there
from meta_flows.models import Diagnostic, FlowMetadata, Location

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOR_DEVELOPERS = re.compile(r"dev|test|lint|docs?\b|bench")
NOT_READ = ("setup.py", "setup.cfg", "Pipfile", "environment.yml", "environment.yaml", "conda.yml", "conda.yaml")
PATTERNS = ("requirements*.txt", "requirements*.in", "requirements/*.txt", "requirements/*.in")
INLINE = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""Inline script metadata, by the reference expression of the packaging guide."""


class DeclaredRequirement(NamedTuple):
    """One requirement, and where it is declared."""

    requirement: Requirement
    place: Location


class Declared(NamedTuple):
    """What some files declare.

    Attributes:
        requirements: The requirements, in the order of the files.
        files: The files that declare anything.
        complete: Whether everything declared is known; some files are not read.
        errors: What is wrong with the files.
    """

    requirements: tuple[DeclaredRequirement, ...] = ()
    files: tuple[str, ...] = ()
    complete: bool = True
    errors: tuple[Diagnostic, ...] = ()


class Declarations:
    """The requirements of a repository, each file read once.

    Attributes:
        read: Returns what one requirements file declares.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._of_folder = cache(self._in_folder)
        self.read = cache(lambda path: _requirements_file(root, path, {path}))

    def of(self, flow: FlowMetadata) -> Declared:
        """Return what applies to a flow: what its own file and the files in its folder and all above it declare."""
        found = [_or_errors(_inline, self._root, flow.path), self._of_folder(folder := parent(flow.path))]
        while folder:
            found.append(self._of_folder(folder := parent(folder)))
        return _joined(found)

    def _in_folder(self, folder: str) -> Declared:
        here = self._root / folder
        found = [Declared(complete=not any((here / name).is_file() for name in NOT_READ))]
        files = sorted(file for pattern in PATTERNS for file in here.glob(pattern))
        used = (file.relative_to(here).as_posix() for file in files if not FOR_DEVELOPERS.search(file.stem))
        found += [self.read(join(folder, name)) for name in used]
        if is_there(here / "pyproject.toml"):
            found.append(_or_errors(_pyproject, self._root, join(folder, "pyproject.toml")))
        return _joined(found)


def _joined(parts: Iterable[Declared]) -> Declared:
    parts = tuple(parts)
    return Declared(
        requirements=tuple(item for part in parts for item in part.requirements),
        files=tuple(file for part in parts for file in part.files),
        complete=all(part.complete for part in parts),
        errors=tuple(error for part in parts for error in part.errors),
    )


def _or_errors(read: Callable[[Path, str], Declared], root: Path, path: str) -> Declared:
    found = result_or_error(read, root, path)
    return Declared(errors=found.errors) if isinstance(found, MetaFlowsError) else found


def _parsed(text: str, place: Location) -> Declared:
    try:
        requirement = Requirement(text)
        if requirement.marker:
            requirement.marker.evaluate({"extra": ""})
        return Declared(requirements=(DeclaredRequirement(requirement, place),))
    except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as error:
        detail = str(error).partition("\n")[0]
        return Declared(
            errors=(diagnostic("MF125", place, detail=f"invalid requirement {masked('', text)}: {detail}"),),
            complete=False,
        )


def _requirements_file(root: Path, path: str, seen: set[str]) -> Declared:
    """Read a file as pip does: with continued lines, comments, options, and the files that it names unless `seen`."""
    try:
        text = read_text(root / path, root)
    except MetaFlowsError as error:
        in_another_encoding = isinstance(error.__context__, UnicodeDecodeError)  # pip reads more of them than we do
        return Declared(errors=() if in_another_encoding else error.errors, complete=False)
    lines = [_line(line, Location(path=path, line=number), root, seen) for number, line in _lines(text)]
    return _joined([Declared(files=(path,)), *lines])


def _line(line: str, place: Location, root: Path, seen: set[str]) -> Declared:
    if other := re.match(r"(?:-r|--requirement)[ =]*(.+)", line):
        inner = normpath(join(parent(place.path), other[1].strip()))
        if inner.startswith(("/", "..")) or "://" in other[1] or "$" in inner:
            return Declared(complete=False)
        if not succeeds((root / inner).is_file):
            return Declared(errors=(diagnostic("MF215", place, what="the file", path=inner),), complete=False)
        if inner in seen:
            return Declared()
        seen.add(inner)
        return _requirements_file(root, inner, seen)
    if re.match(r"-e|--editable|[./]|\w+\+?\w*://|\S+\.(whl|zip|tar\.\w+)\b", line):
        named = re.search(r"#egg=([\w.-]+)", line)
        return _parsed(named[1], place) if named else Declared(complete=False)
    return Declared() if line.startswith("-") else _parsed(re.split(r"\s--?\w", line)[0], place)


def succeeds(test: Callable[[], bool]) -> bool:
    """Return the result of a test of a path; False for a name that no file can have."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each logical line of a requirements file, without comments."""
    whole, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if whole else number
        whole += re.sub(r"(^|\s)#.*", "", line)
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        if whole.strip():
            yield first, whole.strip()
        whole = ""


def _pyproject(root: Path, path: str) -> Declared:
    text = read_text(root / path, root)
    data = _toml(text, path)
    project, poetry = _table(data, "project"), _table(data, "tool", "poetry")
    requirements = [
        *_list(project.get("dependencies")),
        *(item for items in _table(project, "optional-dependencies").values() for item in _list(items)),
        *(item for items in _table(data, "dependency-groups").values() for item in _list(items)),
    ]
    for group in (poetry, *(each for each in _table(poetry, "group").values() if isinstance(each, dict))):
        requirements += [name for name in _table(group, "dependencies") if name != "python"]
    declares = bool(requirements) or "dependencies" in project
    complete = "dependencies" not in _list(project.get("dynamic"))
    parts = (_parsed(item, _place_in(text, item, path)) for item in requirements)
    return _joined([Declared(files=(path,) if declares else (), complete=complete), *parts])


def _inline(root: Path, path: str) -> Declared:
    text = result_or_error(read_text, root / path, root)
    found = None if isinstance(text, MetaFlowsError) else INLINE.search(text)
    if found is None:
        return Declared()
    content = "".join(line[2:] or line[1:] for line in found["content"].splitlines(keepends=True))
    requirements = _list(_toml(content, path).get("dependencies"))
    parts = (_parsed(item, _place_in(found.string, item, path)) for item in requirements)
    return _joined([Declared(files=(path,)), *parts])


def _toml(text: str, path: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = tomllib.loads(text)
        return data
    except (ValueError, RecursionError) as error:
        at = re.search(r"at line (\d+), column (\d+)", str(error))
        place = Location(path=path, line=int(at[1]), column=int(at[2])) if at else Location(path=path)
        raise refuse("MF125", place, detail=f"invalid TOML: {error}") from None


def _table(data: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _list(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _place_in(text: str, requirement: str, path: str) -> Location:
    position = text.find(requirement)
    return Location(path=path, line=text.count("\n", 0, position) + 1 if position >= 0 else None)
