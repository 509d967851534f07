"""Safe reads of untrusted repository files: regular files inside the repository, of a bounded size."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from functools import cache
from pathlib import Path
from typing import BinaryIO

LARGEST_BYTES = 10_000_000
"""Size limit of `read_file`, which reads the whole file into memory."""

_BLOCK_BYTES = 1 << 20


def read_file(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> bytes:
    """Read a file; one below `root` must still be below it after links are followed.

    Raises:
        OSError: It cannot be read, is no regular file, is outside the repository, or is larger than `LARGEST_BYTES`.
    """
    with open_file(path, root) as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST_BYTES // 1_000_000} MB")
    return content


def digest_file(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file of any size; raise OSError as `open_file` does."""
    digest = hashlib.sha256()
    with open_file(path, root) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_there(path: Path) -> bool:
    """Return whether a path is anything but a folder, a broken link included: reading that reports why it fails."""
    return os.path.lexists(path) and not path.is_dir()


def open_file(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading, never blocking on a pipe or a device.

    Raises:
        OSError: It cannot be opened, is no regular file, or is a link that leads out of the repository.
    """
    path, root = os.fspath(path), os.fspath(root)
    if _is_below(path, root) and not _is_below(os.path.realpath(path), _real(root)):
        raise OSError(errno.EPERM, "it is a link that leads out of the repository")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is no regular file")


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


@cache
def _real(root: str) -> str:
    return os.path.realpath(root)
