"""Small repositories for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def build_tree(root: Path, files: Mapping[str, str | bytes | Path]) -> Path:
    """Write files below `root` and return it.

    Args:
        root: Where; made if missing.
        files: Content by POSIX path: text (its common indentation removed), bytes as they are, a `Path` for a
            symbolic link to it. A path that ends with a slash is an empty folder.
    """
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content if isinstance(content, bytes) else dedent(content).encode())
    return root
