"""What the installed Prefect can do and 3.4 cannot, seen in its own code; where both have a way, that one is taken."""

from __future__ import annotations

from inspect import signature


def pulls_code_for_modules() -> bool:
    """Whether a run whose entrypoint is a module carries out its pull steps; 3.4 goes straight to the import.

    It shows in what came along: the steps are told which run they are for.
    """
    from prefect.deployments.steps.core import run_steps

    return "flow_run" in signature(run_steps).parameters
