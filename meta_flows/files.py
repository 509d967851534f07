"""Reading the repository's files, which may be anybody's: regular files inside it, of a size that fits into memory."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from functools import cache
from pathlib import Path
from typing import BinaryIO

LARGEST_BYTES = 10_000_000
"""What a file may have that is read as a whole."""

_BLOCK_BYTES = 1 << 20


def read_file(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> bytes:
    """Read a file.

    Args:
        path: The file.
        root: The repository. A file below it has to be there after links are followed, too.

    Raises:
        OSError: It cannot be read, is no regular file, is outside the repository, or is larger than `LARGEST_BYTES`.
    """
    with open_file(path, root) as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST_BYTES // 1_000_000} MB")
    return content


def digest_file(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, however large, in hexadecimal digits.

    Raises:
        OSError: As `read_file`, but for the size.
    """
    digest = hashlib.sha256()
    with open_file(path, root) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_there(path: Path) -> bool:
    """Whether there is something to read, or to say that it cannot be read; a folder of the name is something else."""
    return os.path.lexists(path) and not path.is_dir()


def open_file(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> BinaryIO:
    """Open a file as `read_file` does; a pipe or a device is not waited for."""
    path, root = os.fspath(path), os.fspath(root)
    if _is_below(path, root) and not _is_below(os.path.realpath(path), _real(root)):
        raise OSError(errno.EPERM, "it is a link that leads out of the repository")
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        os.close(file)
        raise (
            IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if stat.S_ISDIR(mode)
            else OSError(errno.EINVAL, "it is no regular file")
        )
    return os.fdopen(file, "rb")


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


@cache
def _real(root: str) -> str:
    return os.path.realpath(root)
