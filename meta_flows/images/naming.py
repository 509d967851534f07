"""Names of images: one for each content, so that an image is built once however often it is deployed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from bisect import bisect_left
from functools import cache, cached_property
from itertools import islice, takewhile
from pathlib import Path, PurePosixPath

from meta_flows.configuration import Environment
from meta_flows.configuration.reading import read_text
from meta_flows.configuration.settings import settings
from meta_flows.diagnostics import refuse
from meta_flows.files import digest_file, is_there
from meta_flows.images.dockerfiles import read_dockerfile, takes
from meta_flows.models import FlowMetadata, Location, Model, kebab

DIGEST_LENGTH = 12


class Image(Model):
    """An image that runs of docker deployments start from.

    Attributes:
        repository: Its name without a tag: registry, namespace and the Dockerfile's folder.
        tag: Says what it is made of; another content has another tag.
        moving_tag: A second tag, which later images take over.
        pushed: Whether workers get it from a registry.
        dockerfile: POSIX path relative to the repository's root, which is the build context.
        workdir: Where runs start.
        base_images: What it is built on.
        registry_digest: What the registry calls it, once it is there; that cannot move, as a tag can.
    """

    repository: str
    tag: str
    moving_tag: str
    pushed: bool
    dockerfile: str
    workdir: str
    base_images: tuple[str, ...]
    build_args: dict[str, str]
    platform: str | None
    registry_digest: str | None = None

    @property
    def reference(self) -> str:
        """What a deployment asks its worker for."""
        return f"{self.repository}@{self.registry_digest}" if self.registry_digest else self.name

    @property
    def name(self) -> str:
        """What it is called in an engine."""
        return f"{self.repository}:{self.tag}"


def describe_image(flow: FlowMetadata, environment: Environment, context: Context) -> Image:
    """The image of a flow, as its Dockerfile and the files say it is to be; no engine is asked.

    The tag covers the Dockerfile, the build arguments that it takes, its base images' names, the platform, and the
    files of the context that its COPY and ADD instructions see. The base images' contents are theirs to name: a base
    with a moving tag is built on again when something else changes only.

    Raises:
        MetaFlowsError: MF602, the Dockerfile is none; MF603, the image lacks the flow; MF604, there is no Dockerfile.
    """
    if flow.dockerfile_path is None:
        raise refuse("MF604", flow.place, flow=flow.name)
    docker = environment.docker
    dockerfile = read_dockerfile(context.root, flow.dockerfile_path, docker.build_args)
    entrypoint = f"{dockerfile.workdir.rstrip('/')}/{flow.path}"
    places = dockerfile.places(flow.path) if flow.path in context.files else set()
    if entrypoint not in places:
        found = f"at {', '.join(sorted(places))}" if places else "nowhere"
        raise refuse("MF603", flow.place, expected=entrypoint, found=found, dockerfile=flow.dockerfile_path)
    seen = {path for copy in dockerfile.copies for source in copy.sources for path in context.taken_by(source)}
    made_of = {
        "dockerfile": hashlib.sha256(dockerfile.content).hexdigest(),
        "build_args": dict(dockerfile.build_args),
        "bases": dockerfile.bases,
        "platform": docker.platform,
        "files": {path: context.digest_of(path) for path in sorted(seen)},
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    parts = (docker.registry, docker.namespace, _folder_name(flow.dockerfile_path, environment))
    return Image(
        repository="/".join(part.strip("/") for part in parts if part),
        tag=digest[:DIGEST_LENGTH],
        moving_tag=settings().docker_tag or docker.tag or environment.short_name,
        pushed=docker.registry is not None,
        dockerfile=flow.dockerfile_path,
        workdir=dockerfile.workdir,
        base_images=tuple(dockerfile.bases),
        build_args=dict(dockerfile.build_args),
        platform=docker.platform,
    )


def _folder_name(dockerfile: str, environment: Environment) -> str:
    """The Dockerfile's folder below `flows/`, so that flows which share it share the image."""
    folder = PurePosixPath(dockerfile).parent
    parts = folder.parts[1:] if folder.parts[:1] == ("flows",) else folder.parts
    return kebab("-".join(parts)) or environment.project


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
