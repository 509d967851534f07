"""The modules that a flow imports, directly and indirectly, found as Python would find them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from meta_flows.discovery.distributions import is_installed
from meta_flows.discovery.source import Import, Source, parse, unparsed
from meta_flows.discovery.tree import Tree, join, parent
from meta_flows.models import ImportedModule, Location

LOADED_BEFORE_ANY_FLOW = frozenset({*sys.builtin_module_names, "prefect"})
"""Modules that no file of the repository can shadow."""

Resolution = tuple[set[str], str | None]
"""The files of the repository that one import runs, and the path that it lacks there."""


class Imported(NamedTuple):
    """The imports of one file, or of all files that it imports.

    Attributes:
        files: Imported files of the repository.
        elsewhere: Top-level names of modules outside the repository and the standard library.
        required: Modules that the repository does not contain and that are not optional.
    """

    files: set[str]
    elsewhere: set[str]
    required: set[ImportedModule]


class Modules:
    """The Python modules of a repository, each read and parsed once.

    Prefect loads `path/to/file.py:flow` with the file's folder first on `sys.path` and the repository's root second,
    both before the standard library and installed packages. `src/` is searched as well: its content is meant to be
    installed.

    Attributes:
        source: Function that returns the parsed file of a path.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._roots = ("", "src") if "src" in tree.listing("").folders else ("",)
        self.source = cache(self._parsed)
        self._imports = cache(self._found_imports)

    def _parsed(self, path: str) -> Source:
        try:
            return parse(path, self._tree.read(path))
        except OSError as error:
            return unparsed("MF102", Location(path=path), error.strerror or str(error))

    def closure(self, entry: str) -> Imported:
        """Return everything that loading `entry` can import; the files include `entry`."""
        beside = parent(entry)
        found = Imported({entry}, set(), set())
        todo = [self._imports(entry, beside, is_entry=True)]
        while todo:
            files, elsewhere, required = todo.pop()
            found.elsewhere.update(elsewhere)
            found.required.update(required)
            todo += [self._imported_by(file, beside) for file in files - found.files]
            found.files.update(files)
        return found

    def _imported_by(self, path: str, beside: str) -> Imported:
        """Return the direct imports of a module, computed once for all flows whose folder does not shadow them."""
        files, folders, *_ = self._tree.listing(beside)
        shadowed = any(head in folders or f"{head}.py" in files for head in self.source(path).heads)
        return self._imports(path, beside if shadowed else None)

    def _found_imports(self, path: str, beside: str | None, *, is_entry: bool = False) -> Imported:
        """Return the direct imports of one file, searching the folder `beside` before the roots.

        Prefect loads an entry by its path, so that its `from .` also begins at the root.
        """
        roots = self._roots if beside is None else (beside, *self._roots)
        imported = Imported(set(), set(), set())
        for item in self.source(path).imports:
            missing: str | None = None
            if not item.level:
                resolved = self._resolve_absolute(item, roots)
            else:
                folder = "/".join(path.split("/")[: -item.level])
                resolved = self._resolve(item, (folder, "") if is_entry and item.level == 1 else (folder,))
            if resolved:
                files, missing = resolved
                imported.files.update(files)
            elif item.head.isidentifier() and item.head not in sys.stdlib_module_names:
                imported.elsewhere.add(item.head)
                missing = ""
            if missing is not None and not item.optional:
                module = "." * item.level + item.module
                place = Location(path=path, line=item.line)
                imported.required.add(ImportedModule(module=module, place=place, missing=missing))
        return imported

    def _resolve_absolute(self, item: Import, roots: Sequence[str]) -> Resolution | None:
        """Resolve an absolute import; return None if the repository does not contain it."""
        if item.head in LOADED_BEFORE_ANY_FLOW:
            return None
        file, portions = self._locate(item.head, roots)
        if file:
            return self._resolve(item, roots)
        if not portions or is_installed(item.head):
            return None
        found, missing = self._resolve(item, roots)
        is_local = found or (
            missing and not is_installed(item.head, partly=True) and any(map(self._has_code, portions))
        )
        return (found, missing) if is_local else None

    def _has_code(self, folder: str) -> bool:
        """Return whether a folder or a direct subfolder has Python files, so that it is meant to be imported from."""
        folders = (folder, *(join(folder, name) for name in self._tree.listing(folder).folders))
        return any(name.endswith(".py") for each in folders for name in self._tree.listing(each).files)

    def _resolve(self, item: Import, folders: Sequence[str]) -> Resolution:
        """Resolve an import below some folders; its files include the `__init__.py` of each package on the way."""
        found = set[str]()
        missing: str | None = None
        file: str | None = None
        for part in item.module.split(".") if item.module else ():
            above = folders
            file, folders = self._locate(part, above)
            if file:
                found.add(file)
            elif not folders and missing is None and not self._is_compiled(part, above):
                missing = join(above[0], part) if above else part
        names = {name: self._locate(name, folders) for name in item.names}
        found |= {place for place, _ in names.values() if place}
        if file is None and missing is None and folders:  # a namespace has only submodules
            not_found = (name for name, (place, inner) in names.items() if not place and not inner and name != "*")
            missing = next((join(folders[0], name) for name in not_found if not self._is_compiled(name, folders)), None)
        return found, missing

    def _is_compiled(self, name: str, folders: Sequence[str]) -> bool:
        """Return whether a module exists in another form than source, e.g. as an extension."""
        return any(file.startswith(f"{name}.") for folder in folders for file in self._tree.listing(folder).files)

    def _locate(self, name: str, folders: Sequence[str]) -> tuple[str | None, Sequence[str]]:
        """Resolve one part of an import to its file and the folders of its submodules.

        As in Python's finder, a package takes precedence over a module in each folder; a folder without `__init__.py`
        is a portion of a namespace, used only if no folder has a package or module of that name.
        """
        portions = []
        for folder in folders:
            files, inner_folders, *_ = self._tree.listing(folder)
            inner = join(folder, name)
            if name in inner_folders:
                if "__init__.py" in self._tree.listing(inner).files:
                    return f"{inner}/__init__.py", (inner,)
                portions.append(inner)
            if f"{name}.py" in files:
                return f"{inner}.py", ()
        return None, portions
