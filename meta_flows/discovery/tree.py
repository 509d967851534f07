"""The repository on disk: its folders, its ignore rules, and the digests of its files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from meta_flows.diagnostics import refuse
from meta_flows.files import digest_file, read_file
from meta_flows.models import Location

IGNORE_FILE = ".prefectignore"
NEVER_CODE = frozenset({"__pycache__", "node_modules", "site-packages", "tests", "test"})


class Listing(NamedTuple):
    """The names in one folder; a link to a folder is in both `folders` and `links`."""

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    unreadable: bool = False


def join(folder: str, name: str) -> str:
    """Return the path of `name`, even one that begins with a slash, in `folder`; the root is the empty path."""
    return f"{folder}/{name}" if folder else name


def parent(path: str) -> str:
    """Return the folder of a path."""
    return path.rpartition("/")[0]


class Tree:
    """A repository on disk, of which each folder is listed only once; paths are POSIX and relative to the root.

    Attributes:
        listing: Function that returns the content of a folder; empty if it is missing or unreadable.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ignored = _ignore_rules(root)
        self._digests: dict[str, str] = {}
        self.listing = cache(lambda folder: _listing(f"{root}/{folder}"))

    def read(self, path: str) -> bytes:
        """Return the content of a file, or raise OSError."""
        self._digests[path] = ""
        content = read_file(f"{self.root}/{path}", self.root)
        self._digests[path] = hashlib.sha256(content).hexdigest()
        return content

    def digest(self, path: str) -> str:
        """Return the SHA-256 of a file's content; empty if it is unreadable."""
        if path not in self._digests:
            self._digests[path] = ""
            with suppress(OSError):
                self._digests[path] = digest_file(f"{self.root}/{path}", self.root)
        return self._digests[path]

    def walk(self, top: str, skip: Collection[str] = NEVER_CODE, stop: Collection[str] = ()) -> Iterator[str]:
        """Yield every file at or below `top` that is not hidden, ignored, or in a virtual environment.

        Leave out folders with a name in `skip` or a path in `stop`, and do not follow links to folders, which could
        loop. Yield an unreadable folder itself, with a slash at its end: reading it reports the error.
        """
        todo = [top]
        while todo:
            folder = todo.pop()
            files, folders, links, unreadable = self.listing(folder)
            if unreadable:
                yield f"{folder}/"
            if "pyvenv.cfg" in files:
                continue
            for name in files:
                if not name.startswith(".") and not self._ignored(path := join(folder, name)):
                    yield path
            for name in folders - links:
                path = join(folder, name)
                if not name.startswith(".") and name not in skip and path not in stop and not self._ignored(f"{path}/"):
                    todo.append(path)

    def ignores(self, path: str) -> bool:
        """Return whether the ignore file excludes a path or a folder above it."""
        parts = path.split("/")
        folders = ("/".join(parts[:end]) + "/" for end in range(1, len(parts)))
        return self._ignored(path) or any(self._ignored(folder) for folder in folders)

    def nearest(self, folder: str, names: Collection[str], top: str) -> str | None:
        """Return the first of `names` in the nearest folder that has one, from `folder` up to and including `top`."""
        while True:
            if found := next((name for name in names if name in self.listing(folder).files), None):
                return join(folder, found)
            if folder in ("", top):
                return None
            folder = parent(folder)


def _listing(path: str) -> Listing:
    files, folders, links = set(), set(), set()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                # A name that is not Unicode becomes one that does not exist, which is reported as unreadable.
                name = entry.name.encode("utf-8", "replace").decode()
                if entry.is_dir(follow_symlinks=False):
                    folders.add(name)
                elif entry.is_symlink() and Path(entry.path).is_dir():
                    folders.add(name)
                    links.add(name)
                else:  # including broken links and pipes: reading them reports the error
                    files.add(name)
    except (FileNotFoundError, NotADirectoryError):
        return Listing()
    except OSError:
        return Listing(unreadable=True)
    return Listing(frozenset(files), frozenset(folders), frozenset(links))


def _ignore_rules(root: Path) -> Callable[[str], bool]:
    try:
        lines = read_file(root / IGNORE_FILE, root).decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return lambda path: False
    except OSError as error:
        raise refuse("MF102", Location(path=IGNORE_FILE), detail=error.strerror) from error
    from pathspec import GitIgnoreSpec

    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except (ValueError, re.error) as error:  # noqa: PERF203 - the error names the line
            place = Location(path=IGNORE_FILE, line=number)
            raise refuse("MF111", place, pattern=line.strip(), detail=error) from error
    return GitIgnoreSpec.from_lines(lines).match_file
