"""Templates, `environments/templates/<kind>.yaml`: the common part of all deployments of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from meta_flows.configuration.documents import Document
from meta_flows.configuration.reading import configuration_folder, display_path, load_document
from meta_flows.configuration.sections import Resolved
from meta_flows.diagnostics import refuse
from meta_flows.files import is_there

if TYPE_CHECKING:
    from meta_flows.prefect_api.compat import Placeholder

BUILT_IN: dict[str, dict[str, Any]] = {
    "python": {
        "work_pool": "{{ environment.work_pools.python.name }}",
        "job_variables": {"env": {"META_FLOWS_ENVIRONMENT": "{{ environment.name }}"}},
    }
}


class Template(Resolved):
    """The common part of all deployments of a kind. Text may hold `{{ }}` placeholders."""

    work_pool: str
    """Name of the work pool."""
    job_variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of the work pool's job template."""
    pull: list[dict[str, Any]] | None = None
    """Prefect's steps that fetch the code; those that fit the environment's source unless set."""
    tags: list[str] = Field(default_factory=list)
    """Tags of every deployment."""

    @property
    def uses_image(self) -> bool:
        """Return whether its deployments run an image: it has a placeholder such as `{{ image.reference }}`."""
        return any(placeholder.name.startswith("image.") for placeholder in placeholders(self.model_dump()))


def placeholders(value: Any) -> set[Placeholder]:
    """Return the `{{ }}` placeholders in a value, at any depth; unlike in Prefect 3.4, a null has none."""
    from meta_flows.prefect_api.compat import find_placeholders

    if isinstance(value, str):
        return find_placeholders(value)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {found for part in parts for found in placeholders(part)}


def template_kinds(root: Path) -> frozenset[str]:
    """Return the kinds that have a template; python has a built-in one."""
    return frozenset(BUILT_IN).union(file.stem for file in (configuration_folder(root) / "templates").glob("*.yaml"))


def load_template(root: Path, kind: str) -> Template:
    """Read and validate the template of a kind; its placeholders stay unresolved.

    Raises:
        MetaFlowsError: MF210, the kind has no template; or every error in it.
    """
    path = configuration_folder(root) / "templates" / f"{kind}.yaml"
    if is_there(path):
        return Template.of(load_document(path, root))
    if kind in BUILT_IN:
        return Template.of(Document(BUILT_IN[kind]))
    raise refuse("MF210", kind=kind, missing=f"a template: {display_path(path, root)}")
