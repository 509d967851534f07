"""Options that many commands share, as dataclasses whose fields cyclopts flattens into the command."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from meta_flows.configuration.documents import Document
from meta_flows.configuration.secrets import plain_secrets
from meta_flows.diagnostics import MetaFlowsError, refuse

Format = Literal["text", "wide", "json", "sarif"]

Flag = Annotated[bool, Parameter(negative="", show_default=False)]

SHARED = Group("Shared options", sort_key=10)


@Parameter(name="*", group=SHARED)
@dataclass(frozen=True)
class Common:
    """Where the repository is, and how to print.

    Attributes:
        root: The repository; the working directory by default.
        format: Output: text, wide (text with schedules and links), json, or for validate sarif.
        json: Print one JSON document on stdout and nothing else there; short for `-o json`.
        verbose: Show Prefect's own log lines too.
    """

    root: Annotated[Path, Parameter(show_default=False)] = Path()
    format: Annotated[Format, Parameter(name=["--format", "-o"], show_default=False)] = "text"
    json: Flag = False
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="", show_default=False)] = False

    @property
    def repository(self) -> Path:
        """The absolute path of the repository."""
        return self.root.resolve()

    @property
    def wants_json(self) -> bool:
        """Whether stdout is one JSON document."""
        return self.json or self.format == "json"


@Parameter(name="*", group=SHARED)
@dataclass(frozen=True)
class InEnvironment(Common):
    """An environment of the repository.

    Attributes:
        environment: Environment, by its long or short name (shell: DEPLOYMENT_ENV).
    """

    environment: Annotated[str | None, Parameter(name=["--environment", "--env", "-e"])] = None


@Parameter(name="*", group=SHARED)
@dataclass(frozen=True)
class OnServer(InEnvironment):
    """An environment and its server.

    Attributes:
        api_url: Server to use instead of the one of the shell or of the environment's file.
    """

    api_url: str | None = None


@Parameter(name="*", group=SHARED)
@dataclass(frozen=True)
class LocalOrRemote(OnServer):
    """An environment and its server, and where the meta-flow runs.

    Attributes:
        remote: Run the registered deployment of the meta-flow on the server, and follow it to its end.
    """

    remote: Flag = False


Flows = Annotated[
    tuple[str, ...],
    Parameter(name="--flow", help="Only these flows: globs over slugs, names, functions, folders and paths."),
]


@Parameter(name="*")
@dataclass(frozen=True)
class DeploymentFilter:
    """Which deployments of the selected flows.

    Attributes:
        kind: Only these kinds, e.g. python.
        pattern: Only deployments whose name, or flow/name, matches this glob.
    """

    kind: tuple[str, ...] = ()
    pattern: str | None = None


DryRun = Annotated[bool, Parameter(negative="", show_default=False, help="Show what would change; write nothing.")]

Yes = Annotated[
    bool,
    Parameter(
        name=["--yes", "-y"],
        negative="",
        show_default=False,
        help="Approve the plan, in an environment that requires approval; a terminal asks.",
    ),
]

AllEnvironments = Annotated[
    bool,
    Parameter(
        name="--all-environments",
        negative="",
        show_default=False,
        help="Do this for every environment, one after the other.",
    ),
]

DetailedExitCode = Annotated[
    bool, Parameter(negative="", show_default=False, help="Exit with 2 if there are changes, 0 if there are none.")
]

Parameters = Annotated[
    tuple[str, ...],
    Parameter(name="--parameter", help="KEY=VALUE, the value read as JSON if it is JSON; may be repeated."),
]


@Parameter(name="*")
@dataclass(frozen=True)
class DeployFlags:
    """What a deploy may do beside creating and updating.

    Attributes:
        parameter: KEY=VALUE for flows with this parameter; takes precedence over the files; may be repeated.
        adopt: Adopt existing deployments of the same flow and name that this project does not own.
        prune: Delete deployments that the repository no longer declares; the environment's file decides by default.
        prune_limit: Largest share of the deployments that may be deleted, from 0 to 1.
    """

    parameter: tuple[str, ...] = ()
    adopt: Flag = False
    prune: Annotated[bool | None, Parameter(negative="--no-prune")] = None
    prune_limit: float | None = None


def parsed_parameters(texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of `KEY=VALUE` texts: JSON where it is JSON, text otherwise.

    Raises:
        MetaFlowsError: MF901, there is no `=`; MF303, it looks like a secret.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise refuse("MF901", detail=f"'{text}' is not KEY=VALUE")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    if secrets := list(plain_secrets(Document.from_data({"parameters": values}, "command line"))):  # kept with the run
        raise MetaFlowsError(secrets)
    return values


def deploy_arguments(flows: tuple[str, ...], only: DeploymentFilter, options: DeployFlags) -> dict[str, Any]:
    """Return the arguments of `deploy_all` for what was typed.

    Raises:
        MetaFlowsError: MF901, a value cannot be used; MF303, a parameter looks like a secret.
    """
    if options.prune_limit is not None and not 0 <= options.prune_limit <= 1:
        raise refuse("MF901", detail=f"--prune-limit {options.prune_limit:g} is not a share from 0 to 1")
    return {
        "flows": list(flows),
        "kinds": list(only.kind),
        "pattern": only.pattern,
        "adopt": options.adopt,
        "prune": options.prune,
        "prune_limit": options.prune_limit,
        "parameters": parsed_parameters(options.parameter),
    }


def writable(file: Path) -> Path:
    """Return the path of a file that a command will write, its folder made, before the command does anything else.

    Raises:
        MetaFlowsError: MF901, it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refuse("MF901", detail=f"{file} cannot be written: {error.strerror}") from error
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise refuse("MF901", detail=f"{file} cannot be written")
    return file
