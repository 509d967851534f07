"""Names of images: one for each content, so that an image is built once however often it is deployed."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath

from meta_flows.configuration import Environment
from meta_flows.errors import refuse
from meta_flows.images.contexts import Context
from meta_flows.images.dockerfiles import read_dockerfile
from meta_flows.models import FlowMetadata, Model, kebab
from meta_flows.settings import settings

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
