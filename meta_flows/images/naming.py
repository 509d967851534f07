"""Names of images: the tag is a digest of the content, so that each content is built once."""

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
        tag: Digest of its content.
        moving_tag: A second tag, which moves to later images.
        pushed: Whether workers get it from a registry.
        dockerfile: POSIX path relative to the repository's root, which is the build context.
        workdir: Working directory of runs.
        base_images: The images that it is built on.
        build_args: The build arguments that its Dockerfile uses.
        registry_digest: Its digest in the registry, once it is there; unlike a tag it cannot move.
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
        """The image that deployments name."""
        return f"{self.repository}@{self.registry_digest}" if self.registry_digest else self.name

    @property
    def name(self) -> str:
        """Its name in an engine."""
        return f"{self.repository}:{self.tag}"


def describe_image(flow: FlowMetadata, environment: Environment, context: BuildContext) -> Image:
    """Return the image of a flow, from its Dockerfile and the files that it copies; no engine is needed.

    The tag covers the Dockerfile, the build arguments that it uses, the names of its base images, the platform, and the
    files that its COPY and ADD instructions copy. The content of base images is not covered: after a base with a moving
    tag has moved, the image is rebuilt only when something else changes.

    Raises:
        MetaFlowsError: MF602, it is not a Dockerfile; MF603, the image lacks the flow; MF604, there is no Dockerfile.
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
    content = {
        "dockerfile": hashlib.sha256(dockerfile.content).hexdigest(),
        "build_args": dict(dockerfile.build_args),
        "bases": dockerfile.bases,
        "platform": docker.platform,
        "files": {path: context.digest_of(path) for path in sorted(seen)},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
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
    """Return the Dockerfile's folder below `flows/` as a name, so that flows that share it share the image."""
    folder = PurePosixPath(dockerfile).parent
    parts = folder.parts[1:] if folder.parts[:1] == ("flows",) else folder.parts
    return kebab("-".join(parts)) or environment.project


IGNORE_FILE = ".dockerignore"


class BuildContext:
    """The build context: the files of a repository that `.dockerignore` does not exclude.

    Attributes:
        taken_by: Returns the files that a source of a COPY instruction copies.
        digest_of: Returns a digest of a file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.digest_of = cache(self._digest_of)
        self.taken_by = cache(self._taken_by)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """POSIX paths of all files, sorted.

        Raises:
            MetaFlowsError: MF111 or MF216, `.dockerignore` is invalid or unreadable.
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
        at, below = (bisect_left(files, text) for text in (source, f"{source}/"))  # adjacent, since files are sorted
        if files[at : at + 1] == (source,):
            return (source,)
        return tuple(takewhile(lambda path: path.startswith(f"{source}/"), islice(files, below, None)))

    def _is_file(self, path: str) -> bool:
        full = self.root / path
        return full.is_symlink() or full.is_file()

    def _digest_of(self, path: str) -> str:
        """Return what an image has of a file: a digest of its content, whether it is executable, a link's target."""
        file = self.root / path
        if file.is_symlink():
            return f"link to {file.readlink()}"
        runs = "x" if file.stat().st_mode & 0o100 else "-"
        return f"{runs} {digest_file(file, self.root)}"
