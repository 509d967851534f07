"""The record of what was released, kept on the server as one Secret block a release.

Pre-images can hold what operators typed, so the record is a Secret whose value is a JSON string: that is masked in the
UI and the API. A Secret that holds a mapping would show in clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic
from prefect.blocks.system import Secret

from meta_flows.errors import refuse
from meta_flows.models import Release
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.observe import read_all

KEPT = 20
"""How many releases of an environment stay on the server."""


def block_name(project: str, environment: str, release_id: str = "") -> str:
    """Name of a release's block, or the common beginning of an environment's; block names allow a-z, 0-9 and dashes."""
    return f"release--{project}--{environment}--{release_id}"


def latest_release(api: Api, project: str, environment: str) -> Release | None:
    """The newest release of an environment, whatever became of it.

    Raises:
        MetaFlowsError: MF518, its record is not of this version.
    """
    return next(iter(read_releases(api, project, environment, limit=1)), None)


def read_releases(api: Api, project: str, environment: str, limit: int = KEPT) -> list[Release]:
    """The newest releases of an environment, newest first.

    Raises:
        MetaFlowsError: MF518, a record is not of this version.
    """
    documents = _documents(api, project, environment, include_secrets=True, limit=limit)
    return [_release(document) for document in documents]


def _release(document: Mapping[str, Any]) -> Release:
    try:
        return Release.model_validate_json(document["data"]["value"])
    except pydantic.ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise refuse(
            "MF518", block=document["name"], detail=f"{error.error_count()} fields do not fit ({where})"
        ) from None


def save_release(release: Release) -> None:
    """Record a release, or its outcome."""
    name = block_name(release.project, release.environment, release.id)
    Secret(value=release.model_dump_json()).save(name, overwrite=True)


def delete_release(api: Api, release: Release) -> None:
    """Forget one release."""
    name = block_name(release.project, release.environment, release.id)
    for document in _documents(api, release.project, release.environment):
        if document["name"] == name:
            api.delete_block_document(document["id"])


def forget_old_releases(api: Api, project: str, environment: str) -> None:
    """Delete all but the newest releases of an environment."""
    for document in list(_documents(api, project, environment))[KEPT:]:
        api.delete_block_document(document["id"])


def _documents(api: Api, project: str, environment: str, **body: Any) -> list[Mapping[str, Any]]:
    prefix = block_name(project, environment)
    found = {"name": {"like_": f"{prefix}%"}}
    documents = read_all(api, "block_documents", block_documents=found, sort="NAME_DESC", **body)
    return [document for document in documents if document["name"].startswith(prefix)]
