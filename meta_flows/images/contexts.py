"""The build context: the repository's files as a Docker engine gets to see them."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from functools import cache, cached_property
from itertools import islice, takewhile
from pathlib import Path

from meta_flows.configuration.reading import read_text
from meta_flows.errors import refuse
from meta_flows.files import digest_file, is_there
from meta_flows.images.dockerfiles import takes
from meta_flows.models import Location

IGNORE_FILE = ".dockerignore"


class Context:
    """The files of a repository that `.dockerignore` lets through.

    Args:
        root: The repository.

    Attributes:
        taken_by: The files that a source of a COPY is, or that are in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.digest_of = cache(self._digest_of)
        self.taken_by = cache(self._taken_by)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """POSIX paths of all of them, sorted.

        Raises:
            MetaFlowsError: MF111 or MF216, `.dockerignore` cannot be used.
        """
        from docker.utils.build import PatternMatcher

        found = PatternMatcher(self._ignored()).walk(str(self.root))
        return tuple(sorted(path.replace(os.sep, "/") for path in found if self._is_file(path)))

    def _ignored(self) -> list[str]:
        from docker.utils.build import PatternMatcher

        ignore = self.root / IGNORE_FILE
        patterns = []
        for number, line in enumerate(read_text(ignore, self.root).splitlines() if is_there(ignore) else (), 1):
            if line.strip() and not line.startswith("#"):
                try:
                    PatternMatcher([line.strip()]).matches("x")  # type: ignore[arg-type]  # its stub says path
                except re.error as error:
                    place = Location(path=IGNORE_FILE, line=number)
                    raise refuse("MF111", place, pattern=line.strip(), detail=error) from error
                patterns.append(line.strip())
        return patterns

    def _taken_by(self, source: str) -> tuple[str, ...]:
        files = self.files
        if source in ("", "."):
            return files
        if any(character in source for character in "*?["):
            return tuple(path for path in files if takes(source, path))
        at, below = (bisect_left(files, text) for text in (source, f"{source}/"))  # sorted, they stand together
        if files[at : at + 1] == (source,):
            return (source,)
        return tuple(takewhile(lambda path: path.startswith(f"{source}/"), islice(files, below, None)))

    def _is_file(self, path: str) -> bool:
        full = self.root / path
        return full.is_symlink() or full.is_file()

    def _digest_of(self, path: str) -> str:
        """What makes a file the same to an image: its content, whether it can be run, where a link leads."""
        file = self.root / path
        if file.is_symlink():
            return f"link to {file.readlink()}"
        runs = "x" if file.stat().st_mode & 0o100 else "-"
        return f"{runs} {digest_file(file, self.root)}"
