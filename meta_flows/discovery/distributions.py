"""From the name that code imports to the name that pip installs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder

# Only for what is not installed here; an installed distribution says itself what it provides.
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


def distributions(modules: Iterable[str]) -> tuple[str, ...]:
    """The distributions that provide these top-level modules, sorted, their names normalised as PEP 503 says.

    Where several provide one module, as for `google`, all of them are named.
    """
    return tuple(sorted({name for module in modules for name in _providers(module)}))


def is_installed(module: str, *, partly: bool = False) -> bool:
    """Whether Python finds a top-level module among the standard and the installed ones, without importing it.

    Args:
        module: Its name.
        partly: Whether a namespace, which has no file of its own, counts.
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
    """All modules that are installed; takes a tenth of a second, so it is asked last."""
    if sys.version_info >= (3, 11):
        from importlib.metadata import packages_distributions
    else:  # 3.10's own misses every distribution without a top_level.txt
        from importlib_metadata import packages_distributions

    found: Mapping[str, list[str]] = packages_distributions()
    return found
