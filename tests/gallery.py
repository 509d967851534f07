"""The gallery of validation: for every code two repositories that bring it about, and one that only looks like it.

Each file in `tests/unit/validation/gallery` is called as its code and has three repositories, `first`, `second` and
`near-miss`. Their `files` have their content by path: text, `!!binary`, or `{link: target}` for a symbolic link. The
`findings` are all that validation says of a repository; it says nothing of a near miss. `server.yaml` is what the
server has that they refer to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from prefect.workers.base import BaseWorker

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.models import ValidationResult
from tests.trees import build_tree

Findings = list[dict[str, str]]

FOLDER = Path(__file__).parent / "unit" / "validation" / "gallery"
GALLERY = {path.name.partition("-")[0]: path for path in sorted(FOLDER.glob("MF*.yaml"))}


def codes(*numbers: int | range) -> set[str]:
    return {f"MF{each}" for number in numbers for each in ([number] if isinstance(number, int) else number)}


ON_SERVER = codes(407, range(410, 418))
"""What depends on what a server has."""
PLANNED = codes(407, 417)
"""Those of them that planning finds, which asks the server itself; for the others there is a pure rule."""


@cache
def read(code: str) -> dict[str, Any]:
    """A code's repositories by name."""
    repositories: dict[str, Any] = yaml.safe_load(GALLERY[code].read_text(encoding="utf-8"))
    return repositories


def build_repository(code: str, repository: str, root: Path) -> Path:
    """Write one of a code's repositories below `root`, to the byte, and return it."""
    files = read(code)[repository]["files"]
    return build_tree(root, {path: _content(stated) for path, stated in files.items()})


def _content(stated: str | bytes | Mapping[str, str]) -> bytes | Path:
    if isinstance(stated, Mapping):
        return Path(stated["link"])
    return stated if isinstance(stated, bytes) else stated.encode()


def expected(code: str, repository: str) -> Findings:
    """What is to be said of a repository; `{version of x}` in it is what is installed here."""

    def filled_in(text: str) -> str:
        return re.sub(r"\{version of ([\w-]+)\}", lambda found: version(found[1]), text)

    stated: Findings = read(code)[repository]["findings"]
    return [{key: filled_in(text) for key, text in finding.items()} for finding in stated]


def in_full(said: ValidationResult | MetaFlowsError) -> Findings:
    """All that is said, as the gallery has it."""
    return [
        {
            "code": error.code,
            "severity": error.severity,
            "place": str(error.place or ""),
            "message": error.message,
            "remedy": error.remedy,
        }
        for error in (*said.errors, *getattr(said, "warnings", ()))
    ]


def read_server() -> dict[str, Any]:
    """The work pools by name, the secret blocks and the variables that the server has."""
    stated: dict[str, Any] = yaml.safe_load((FOLDER / "server.yaml").read_text(encoding="utf-8"))
    return stated


def base_job_template(pool_type: str) -> dict[str, Any]:
    """The base job template of a type of work pool."""
    worker: Any = BaseWorker.get_worker_class_from_type(pool_type)
    template: dict[str, Any] = worker.get_default_base_job_template()
    return template
