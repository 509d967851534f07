"""Checks of this machine: packages, disk, Docker engine and registry, git."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prefect.settings import PREFECT_HOME

from meta_flows.configuration import Environment, LocalSource, Selection, configure
from meta_flows.desired.deployments import describe_images
from meta_flows.diagnostics import MetaFlowsError, diagnostic
from meta_flows.discovery import discover
from meta_flows.images import Image, engine
from meta_flows.models import Diagnostic
from meta_flows.validation.dependencies import applies

OWNERS = ("meta_flows", "prefect")
"""The distributions whose requirements must be met."""

TRAPS = (
    ("prefect", "fastapi<0.155", "with it a Prefect server dies when it starts"),
    ("prefect", "fastapi<0.151", "with it a Prefect server refuses requests that hold a null (422)"),
    ("prefect<3.8", "fastapi<0.132", "with it a Prefect server refuses flows that flows call (422)"),
    ("prefect", "sqlalchemy<2.1", "with it a Prefect server never makes a scheduled run"),
)
"""Requirements that Prefect's own metadata does not state, and what happens if they are not met."""

LITTLE_GB, TOO_LITTLE_GB = 5.0, 0.5
GIT_SECONDS = 10


def check_packages() -> Iterator[str | Diagnostic]:
    """Check that Python and the installed packages are versions that work."""
    installed: dict[str, str] = {canonicalize_name(item.name): item.version for item in distributions()}
    required = [Requirement(text) for owner in OWNERS for text in requires(owner) or ()]
    required += [Requirement(f"python{metadata(owner)['Requires-Python']}") for owner in OWNERS]
    yield from judge_packages(required, {**installed, "python": platform.python_version()})


def judge_packages(required: Iterable[Requirement], installed: Mapping[str, str]) -> Iterator[str | Diagnostic]:
    """Report requirements that are not met; those for extras and other platforms do not apply.

    Args:
        required: The requirements.
        installed: Version by normalised name.
    """
    applicable = [item for item in required if applies(item.marker)]
    traps = [(Requirement(works), effect) for owner, works, effect in TRAPS if _is_met(Requirement(owner), installed)]
    wrong: dict[str, Diagnostic] = {}
    for item in (*applicable, *(works for works, _ in traps)):
        if not _is_met(item, installed):
            name, wanted = canonicalize_name(item.name), str(item.specifier) or "(any version)"
            effects = (f": {effect}" for works, effect in traps if works.name == name and not _is_met(works, installed))
            version, trap = installed.get(name, "none"), next(effects, "")
            wrong.setdefault(name, diagnostic("MF802", package=name, version=version, wanted=wanted, trap=trap))
    yield from wrong.values()
    if not wrong:
        named = (f"{name} {installed[name]}" for name in ("python", "prefect", "fastapi", "sqlalchemy"))
        yield f"{', '.join(named)}; {len(applicable)} requirements are met"


def _is_met(requirement: Requirement, installed: Mapping[str, str]) -> bool:
    version = installed.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def check_disk() -> Iterator[str | Diagnostic]:
    """Check the free space of Prefect's home folder."""
    home = Path(PREFECT_HOME.value())
    yield free_space(next(folder for folder in (home, *home.parents) if folder.exists()))


def free_space(folder: Path) -> str | Diagnostic:
    """Report the free space of a folder."""
    return judge_space(folder, shutil.disk_usage(folder).free / 1e9)


def judge_space(folder: Path, free: float) -> str | Diagnostic:
    """Report `free` GB of a folder: a warning below 5 GB, an error below 0.5 GB."""
    if free >= LITTLE_GB:
        return f"{folder} has {free:.0f} GB left"
    full = diagnostic("MF809", folder=folder, free=free)
    return full if free < TOO_LITTLE_GB else full.as_warning()


def check_docker(root: Path, environment: Environment) -> Iterator[str | Diagnostic]:
    """Check that the Docker engine and the registry answer, where flows run in containers."""
    configured = configure(root, discover(root), environment, Selection(), parameters={}, allow_none=True)
    described = describe_images(root, configured, environment)
    if not described:
        yield "not needed: no flow runs in a container"
        return
    try:
        with engine.connected() as client:
            yield f"engine {client.version()['Version']} answers"
            if folder := engine.folder_here(client):
                yield free_space(folder)
            image = next((item for item in described.values() if isinstance(item, Image)), None)
            if image and image.pushed:
                there = "has" if engine.registry_digest(client, image) else "does not have yet"
                yield f"the registry accepts our login, and {there} {image.name}"
    except MetaFlowsError as error:  # without an engine a deploy leaves out what runs in a container, unless strict
        yield from (item if environment.strict or item.code != "MF601" else item.as_warning() for item in error.errors)


def check_git(_: Path, environment: Environment) -> Iterator[str | Diagnostic]:
    """Check that git reaches the repository that runs clone."""
    source = environment.source
    if isinstance(source, LocalSource):
        yield "not needed: runs get the code from a folder"
        return
    if source.credentials:
        yield f"{source.repository} is cloned with a block's credentials, which are not tried here"
        return
    shell = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes", "LC_ALL": "C"}
    command = ["git", "ls-remote", "--heads", "--", source.repository, source.branch or "*"]
    try:
        done = subprocess.run(command, env=shell, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
        detail = "" if done.returncode == 0 else " ".join(done.stderr.split())
        if not done.stdout and not detail:
            detail = f"it has no branch {source.branch}" if source.branch else "it is empty"
    except FileNotFoundError:
        detail = "git is not installed"
    except subprocess.TimeoutExpired:
        detail = f"no answer within {GIT_SECONDS} s"
    yield diagnostic("MF810", repository=source.repository, detail=detail) if detail else f"{source.repository} answers"
