"""Options that many commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from meta_flows.configuration.documents import Document
from meta_flows.configuration.secrets import plain_secrets
from meta_flows.diagnostics import MetaFlowsError, refuse


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What to work on, and how to speak.

    Attributes:
        root: The repository.
        json: Print one JSON document on stdout, and nothing else there.
        verbose: Show Prefect's own log lines too.
    """

    root: Path = Path()
    json: bool = False
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"])] = False


EnvironmentName = Annotated[
    str | None,
    Parameter(name=["--environment", "-e"], help="Environment by its long or short name (shell: DEPLOYMENT_ENV)."),
]


Flows = Annotated[
    tuple[str, ...], Parameter(help="Only these flows: globs over slugs, names, functions, folders and paths.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """Which environment, and which of its deployments.

    Attributes:
        kind: Only these kinds, e.g. python.
        pattern: Only deployments whose name, or flow/name, matches this glob.
    """

    environment: EnvironmentName = None
    flow: Flows = ()
    kind: tuple[str, ...] = ()
    pattern: str | None = None


ApiUrl = Annotated[str | None, Parameter(help="Server in place of the one the shell or the environment's file names.")]

Flag = Annotated[bool, Parameter(negative="")]

Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Where a meta-flow runs.

    Attributes:
        api_url: Server in place of the one the shell or the environment's file names.
        remote: Run the registered deployment of the meta-flow on the server, and follow it to its end.
    """

    api_url: ApiUrl = None
    remote: Flag = False


Parameters = Annotated[
    tuple[str, ...],
    Parameter(name="--parameter", help="KEY=VALUE, the value read as JSON if it is that; may be repeated."),
]


def parsed_parameters(texts: Sequence[str]) -> dict[str, Any]:
    """Values from `KEY=VALUE`: JSON where it is JSON, text otherwise.

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
    if secrets := list(plain_secrets(Document.stated({"parameters": values}, "command line"))):  # kept with the run
        raise MetaFlowsError(secrets)
    return values


@Parameter(name="*")
@dataclass(frozen=True)
class DeployOptions:
    """What a deploy may do beside creating and updating.

    Attributes:
        parameter: Values that go before those of the files, for flows that have such parameters.
        adopt: Take over deployments of the same flow and name that this project does not own.
        prune: Delete deployments that the repository no longer asks for; the environment's file says, if not given.
        prune_limit: Largest share of the deployments that may be deleted, from 0 to 1.
    """

    parameter: Parameters = ()
    adopt: Flag = False
    prune: Annotated[bool | None, Parameter(negative="--no-prune")] = None
    prune_limit: float | None = None


def arguments(target: Target, options: DeployOptions) -> dict[str, Any]:
    """The arguments of `deploy_all` that were given."""
    return {
        "flows": list(target.flow),
        "kinds": list(target.kind),
        "pattern": target.pattern,
        "adopt": options.adopt,
        "prune": options.prune,
        "prune_limit": options.prune_limit,
        "parameters": parsed_parameters(options.parameter),
    }
