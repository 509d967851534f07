"""The record of what was released, kept on the server as one Secret block a release.

Pre-images can hold what operators typed, so the record is a Secret whose value is a JSON string: that is masked in the
UI and the API. A Secret that holds a mapping would show in clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic
from prefect.blocks.system import Secret
from prefect.client.schemas.actions import BlockDocumentUpdate

from meta_flows.errors import refuse
from meta_flows.models import Release
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.observe import PAGE, read_all

KEPT = 20
"""How many releases of an environment that succeeded stay on the server, and how many of the others."""


def block_name(project: str, environment: str, release_id: str = "") -> str:
    """Name of a release's block, or the common beginning of an environment's; block names allow a-z, 0-9 and dashes."""
    return f"release--{project}--{environment}--{release_id}"


def latest_release(api: Api, project: str, environment: str) -> Release | None:
    """The newest release of an environment, whatever became of it; a plan that was rejected is none.

    Raises:
        MetaFlowsError: MF518, its record is not of this version.
    """
    for limit in (1, PAGE):  # a record can be large, and seldom is the newest one rejected
        for name, release in read_releases(api, project, environment, limit):
            if release is None:
                raise refuse("MF518", block=name)
            if release.state != "rejected":
                return release
    return None


def read_releases(api: Api, project: str, environment: str, limit: int = PAGE) -> list[tuple[str, Release | None]]:
    """The newest releases of an environment by the names of their blocks, newest first; None for an unreadable one."""
    documents = _documents(api, project, environment, include_secrets=True, limit=limit)
    return [(document["name"], _release(document)) for document in documents]


def _release(document: Mapping[str, Any]) -> Release | None:
    try:
        return Release.model_validate_json(document["data"]["value"])
    except pydantic.ValidationError:
        return None


def save_release(release: Release) -> None:
    """Record a release that is new."""
    Secret(value=release.model_dump_json()).save(_name(release), overwrite=True)


def update_release(api: Api, release: Release) -> None:
    """Record what has become of a release, in two requests; a record that is gone meanwhile is made again."""
    documents = _documents(api, release.project, release.environment, release.id)
    if not documents:
        save_release(release)
    for document in documents:
        update = BlockDocumentUpdate(data={"value": release.model_dump_json()}, merge_existing_data=False)
        api.update_block_document(document["id"], update)


def delete_release(api: Api, release: Release) -> None:
    """Forget one release."""
    for document in _documents(api, release.project, release.environment, release.id):
        api.delete_block_document(document["id"])


def forget_old_releases(api: Api, project: str, environment: str) -> None:
    """Delete all but the newest releases of an environment: of those that succeeded, and of the others."""
    documents = _documents(api, project, environment)
    if len(documents) <= KEPT:
        return
    ids = {document["name"]: document["id"] for document in documents}
    found = read_releases(api, project, environment)
    succeeded = [name for name, release in found if release and release.state == "succeeded"]
    others = [name for name, _ in found if name not in succeeded]
    for name in (*succeeded[KEPT:], *others[KEPT:]):
        api.delete_block_document(ids[name])


def _documents(api: Api, project: str, environment: str, release_id: str = "", **body: Any) -> list[Mapping[str, Any]]:
    """The blocks of an environment's releases, newest first, or that of one release."""
    prefix = block_name(project, environment, release_id)
    found = {"name": {"like_": f"{prefix}%"}}
    documents = read_all(api, "block_documents", block_documents=found, sort="NAME_DESC", **body)
    return [document for document in documents if document["name"].startswith(prefix)]


def _name(release: Release) -> str:
    return block_name(release.project, release.environment, release.id)
