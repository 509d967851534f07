"""The Dockerfiles of the example flows share their layers, and the guide shows them as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def dockerfile(slug: str) -> str:
    return (ROOT / "flows" / slug / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("slug", ["rpa2", "rpa3"])
def test_the_dockerfiles_differ_in_the_name_of_the_flow_only(slug: str) -> None:
    """So their first layers are the same, and are built, pushed and pulled once."""
    assert dockerfile(slug) == dockerfile("rpa1").replace("rpa1", slug)


def test_the_dockerfile_of_a_package_differs_in_the_command_too() -> None:
    ours, theirs = dockerfile("trading"), dockerfile("rpa1").replace("rpa1", "trading")
    assert ours.splitlines()[:-1] == theirs.splitlines()[:-1]


def test_the_guide_shows_the_dockerfile_that_there_is() -> None:
    assert f"```dockerfile\n{dockerfile('rpa1')}```" in (ROOT / "docs/containers.md").read_text(encoding="utf-8")


def test_images_get_the_versions_that_the_repository_has_locked() -> None:
    def pins(lock: Path) -> set[str]:
        return set(re.findall(r"^\S+==[^\s;\\]+", lock.read_text(encoding="utf-8"), re.MULTILINE))

    assert {pin.partition("=")[0] for pin in pins(ROOT / "flows/requirements.txt")} >= {"prefect", "pydantic"}
    assert pins(ROOT / "flows/requirements.txt") <= pins(ROOT / "requirements.txt")
