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

OWNERS = ("meta_flows", "prefect")
"""The distributions whose own metadata says what they run with."""

TRAPS = (
    ("prefect", "fastapi<0.155", "with it a Prefect server dies when it starts"),
    ("prefect", "fastapi<0.151", "with it a Prefect server refuses requests that hold a null (422)"),
    ("prefect<3.8", "fastapi<0.132", "with it a Prefect server refuses flows that flows call (422)"),
    ("prefect", "sqlalchemy<2.1", "with it a Prefect server never makes a scheduled run"),
)
"""Which Prefect needs what, although its own metadata allows more, and what happens otherwise."""

LITTLE_GB, TOO_LITTLE_GB = 5.0, 0.5
GIT_SECONDS = 10


def check_packages() -> Iterator[str | Diagnostic]:
    """Are Python and the packages those that we and Prefect run with?"""
    installed: dict[str, str] = {canonicalize_name(item.name): item.version for item in distributions()}
    wanted = [Requirement(text) for owner in OWNERS for text in requires(owner) or ()]
    wanted += [Requirement(f"python{metadata(owner)['Requires-Python']}") for owner in OWNERS]
    yield from judge_packages(wanted, {**installed, "python": platform.python_version()})


def judge_packages(wanted: Iterable[Requirement], installed: Mapping[str, str]) -> Iterator[str | Diagnostic]:
    """What does not fit.

    Args:
        wanted: What is required, extras and other platforms too.
        installed: Version by normalised name.
    """
    needed = [item for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})]
    traps = [(Requirement(works), effect) for owner, works, effect in TRAPS if _is_met(Requirement(owner), installed)]
    wrong: dict[str, Diagnostic] = {}
    for item in (*needed, *(works for works, _ in traps)):
        if not _is_met(item, installed):
            name, range_wanted = canonicalize_name(item.name), str(item.specifier) or "any version"
            effects = (f": {effect}" for works, effect in traps if works.name == name and not _is_met(works, installed))
            version, trap = installed.get(name, "not at all"), next(effects, "")
            wrong.setdefault(name, diagnostic("MF802", package=name, version=version, wanted=range_wanted, trap=trap))
    yield from wrong.values()
    if not wrong:
        named = (f"{name} {installed[name]}" for name in ("python", "prefect", "fastapi", "sqlalchemy"))
        yield f"{', '.join(named)}; {len(needed)} requirements are met"


def _is_met(wanted: Requirement, installed: Mapping[str, str]) -> bool:
    version = installed.get(canonicalize_name(wanted.name))
    return version is not None and wanted.specifier.contains(version, prereleases=True)


def check_disk() -> Iterator[str | Diagnostic]:
    """Is there space where Prefect keeps its things?"""
    home = Path(PREFECT_HOME.value())
    yield free_space(next(folder for folder in (home, *home.parents) if folder.exists()))


def free_space(folder: Path) -> str | Diagnostic:
    """How much space is left in a folder."""
    return judge_space(folder, shutil.disk_usage(folder).free / 1e9)


def judge_space(folder: Path, free: float) -> str | Diagnostic:
    """Whether so many GB are enough."""
    if free >= LITTLE_GB:
        return f"{folder} has {free:.0f} GB left"
    full = diagnostic("MF809", folder=folder, free=free)
    return full if free < TOO_LITTLE_GB else full.as_warning()


def check_docker(root: Path, environment: Environment) -> Iterator[str | Diagnostic]:
    """Do the engine and the registry answer, where flows run in containers?"""
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
                yield f"the registry lets us in, and {there} {image.name}"
    except MetaFlowsError as error:  # without an engine a deploy leaves out what runs in a container, unless strict
        yield from (item if environment.strict or item.code != "MF601" else item.as_warning() for item in error.errors)


def check_git(_: Path, environment: Environment) -> Iterator[str | Diagnostic]:
    """Does git reach the repository that runs clone?"""
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
