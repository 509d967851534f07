"""Which of the repository's modules a flow imports, directly or not, found as Python would find them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache

from meta_flows.discovery.distributions import is_installed
from meta_flows.discovery.source import Import, Source, parse
from meta_flows.discovery.tree import Tree, join, parent

# No file of the repository can stand in for these: when a flow is loaded, they are.
LOADED_BEFORE_ANY_FLOW = frozenset({*sys.builtin_module_names, "prefect"})


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

    def closure(self, entry: str) -> tuple[set[str], set[str]]:
        """All that loading `entry` can import: files of the repository, itself included, and other top-level names."""
        beside = parent(entry)
        found, elsewhere = {entry}, set[str]()
        todo = [self._imports(entry, beside, is_entry=True)]
        while todo:
            files, names = todo.pop()
            elsewhere |= names
            todo += [self._imported_by(file, beside) for file in files - found]
            found |= files
        return found, elsewhere

    def _imported_by(self, path: str, beside: str) -> tuple[set[str], set[str]]:
        """What a module imports by itself, found once for all flows whose own folder has no say in it."""
        files, folders, *_ = self._tree.listing(beside)
        shadowed = any(head in folders or f"{head}.py" in files for head in self.source(path).heads)
        return self._imports(path, beside if shadowed else None)

    def _found_imports(self, path: str, beside: str | None, *, is_entry: bool = False) -> tuple[set[str], set[str]]:
        """What one file imports by itself.

        Args:
            path: The file.
            beside: Folder in which absolute imports begin, before the roots.
            is_entry: Whether Prefect loads the file by its path, which makes it a package: there `from .` begins.
        """
        roots = self._roots if beside is None else (beside, *self._roots)
        files, elsewhere = set[str](), set[str]()
        for item in self.source(path).imports:
            if item.level:
                folder = path
                for _ in range(item.level):
                    folder = parent(folder)
                files |= self._resolve(item, (folder, "") if is_entry and item.level == 1 else (folder,))
            elif found := self._resolve_absolute(item, roots):
                files |= found
            elif item.head.isidentifier() and item.head not in sys.stdlib_module_names:
                elsewhere.add(item.head)
        return files, elsewhere

    def _resolve_absolute(self, item: Import, roots: Sequence[str]) -> set[str]:
        file, portions = self._locate(item.head, roots)
        local = file or (portions and not is_installed(item.head))
        return self._resolve(item, roots) if local and item.head not in LOADED_BEFORE_ANY_FLOW else set()

    def _resolve(self, item: Import, folders: Sequence[str]) -> set[str]:
        """Every file that Python runs for one import, the `__init__.py` files on the way included."""
        found = set[str | None]()
        for part in item.module.split(".") if item.module else ():
            file, folders = self._locate(part, folders)
            found.add(file)
        found.update(self._locate(name, folders)[0] for name in item.names)
        return {file for file in found if file}

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
