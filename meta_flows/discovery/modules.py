"""Which of the repository's modules a flow imports, directly or not, found as Python would find them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from meta_flows.discovery.distributions import is_installed
from meta_flows.discovery.source import Import, Source, parse
from meta_flows.discovery.tree import Tree, join, parent
from meta_flows.models import ImportedModule, Location

# No file of the repository can stand in for these: when a flow is loaded, they are.
LOADED_BEFORE_ANY_FLOW = frozenset({*sys.builtin_module_names, "prefect"})


class Imported(NamedTuple):
    """What one file, or all that it imports, takes from where.

    Attributes:
        files: Files of the repository.
        elsewhere: Top-level names of all else that is not part of Python.
        needed: What of these nothing in the repository provides and the file cannot do without.
    """

    files: set[str]
    elsewhere: set[str]
    needed: set[ImportedModule]


class Modules:
    """The Python modules of a repository, each read and parsed once.

    Prefect loads `path/to/file.py:flow` with the file's folder first on `sys.path` and the repository's root second,
    both before the standard library and all that is installed. `src/` is looked in as well: what stands there is
    meant to be installed.

    Attributes:
        source: A file by its path, parsed.
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
            return parse(path, error)

    def closure(self, entry: str) -> Imported:
        """All that loading `entry` can import: the files include it itself."""
        beside = parent(entry)
        found = Imported({entry}, set(), set())
        todo = [self._imports(entry, beside, is_entry=True)]
        while todo:
            files, elsewhere, needed = todo.pop()
            found.elsewhere.update(elsewhere)
            found.needed.update(needed)
            todo += [self._imported_by(file, beside) for file in files - found.files]
            found.files.update(files)
        return found

    def _imported_by(self, path: str, beside: str) -> Imported:
        """What a module imports by itself, found once for all flows whose own folder has no say in it."""
        files, folders, *_ = self._tree.listing(beside)
        shadowed = any(head in folders or f"{head}.py" in files for head in self.source(path).heads)
        return self._imports(path, beside if shadowed else None)

    def _found_imports(self, path: str, beside: str | None, *, is_entry: bool = False) -> Imported:
        """What one file imports by itself.

        Args:
            path: The file.
            beside: Folder in which absolute imports begin, before the roots.
            is_entry: Whether Prefect loads the file by its path, which makes it a package: there `from .` begins.
        """
        roots = self._roots if beside is None else (beside, *self._roots)
        imported = Imported(set(), set(), set())
        for item in self.source(path).imports:
            missing: str | None = None
            if item.level:
                folder = path
                for _ in range(item.level):
                    folder = parent(folder)
                folders = (folder, "") if is_entry and item.level == 1 else (folder,)
                found, missing = self._resolve(item, folders)
                imported.files.update(found)
            elif local := self._resolve_absolute(item, roots):
                found, missing = local
                imported.files.update(found)
            elif item.head.isidentifier() and item.head not in sys.stdlib_module_names:
                imported.elsewhere.add(item.head)
                missing = ""
            if missing is not None and not item.optional:
                module = "." * item.level + item.module
                place = Location(path=path, line=item.line)
                imported.needed.add(ImportedModule(module=module, place=place, missing=missing))
        return imported

    def _resolve_absolute(self, item: Import, roots: Sequence[str]) -> tuple[set[str], str | None] | None:
        """What an import finds in the repository and what it lacks there; None if it looks elsewhere."""
        if item.head in LOADED_BEFORE_ANY_FLOW:
            return None
        file, portions = self._locate(item.head, roots)
        if file:
            return self._resolve(item, roots)
        if not portions or is_installed(item.head):
            return None
        found, missing = self._resolve(item, roots)
        ours = found or (missing and not is_installed(item.head, partly=True) and any(map(self._has_code, portions)))
        return (found, missing) if ours else None

    def _has_code(self, folder: str) -> bool:
        """Whether a folder, or one in it, has Python files: then it is meant to be imported from."""
        folders = (folder, *(join(folder, name) for name in self._tree.listing(folder).folders))
        return any(name.endswith(".py") for each in folders for name in self._tree.listing(each).files)

    def _resolve(self, item: Import, folders: Sequence[str]) -> tuple[set[str], str | None]:
        """Every file that Python runs for one import, the `__init__.py` files on the way included; what is missing."""
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
        if file is None and missing is None and folders:  # a folder without code of its own has submodules only
            gone = (name for name, (place, inner) in names.items() if not place and not inner and name != "*")
            missing = next((join(folders[0], name) for name in gone if not self._is_compiled(name, folders)), None)
        return found, missing

    def _is_compiled(self, name: str, folders: Sequence[str]) -> bool:
        """Whether a module is there as something else than source."""
        return any(file.startswith(f"{name}.") for folder in folders for file in self._tree.listing(folder).files)

    def _locate(self, name: str, folders: Sequence[str]) -> tuple[str | None, Sequence[str]]:
        """One step of an import: the file that `name` is, and where its submodules are looked for.

        As Python's own finder: in each folder a package goes before a module; a folder without `__init__.py` is a
        portion of a namespace, and counts only if nothing else of that name is found anywhere.
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
