"""Mapping the names that code imports to the names that pip installs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder

NAMED_DIFFERENTLY = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "git": "gitpython",
    "jwt": "pyjwt",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Distributions that are not installed here; the metadata of an installed one names its modules."""


def distributions(modules: Iterable[str]) -> tuple[str, ...]:
    """Return the distributions that provide these top-level modules, sorted, with names normalised as in PEP 503.

    If several provide one module, such as `google`, all of them are returned.
    """
    return tuple(sorted({name for module in modules for name in _providers(module)}))


def is_installed(module: str, *, partly: bool = False) -> bool:
    """Return whether a top-level module is standard or installed, without importing it.

    A namespace, which has no file of its own, is only considered installed with `partly`.
    """
    return module in sys.stdlib_module_names or bool((spec := _spec(module)) and (partly or spec.loader))


def _spec(module: str) -> ModuleSpec | None:
    return PathFinder.find_spec(
        module, [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    )


@cache
def _providers(module: str) -> frozenset[str]:
    from importlib.metadata import PackageNotFoundError, distribution

    usual = NAMED_DIFFERENTLY.get(module, module)
    try:
        distribution(usual)
        names = [usual]
    except PackageNotFoundError:
        names = _installed().get(module, [usual]) if _spec(module) else [usual]
    return frozenset(re.sub(r"[-_.]+", "-", name).lower() for name in names)


@cache
def _installed() -> Mapping[str, list[str]]:
    """Return the distributions of each installed module; takes 0.1 s, so callers try everything else first."""
    if sys.version_info >= (3, 11):
        from importlib.metadata import packages_distributions
    else:  # 3.10's own misses every distribution without a top_level.txt
        from importlib_metadata import packages_distributions

    found: Mapping[str, list[str]] = packages_distributions()
    return found
