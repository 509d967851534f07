"""The `meta-flows` command: a table of contents; each command's module is imported when it is called."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from contextlib import suppress

from cyclopts import App, CycloptsError, Parameter

from meta_flows.cli.output import err, print_errors, print_json
from meta_flows.diagnostics import MetaFlowsError, diagnostic, refuse

LEAVING_SECONDS = 10
"""How long the exit may take: what Prefect could not send by then, it could not for half a minute before."""

COMMANDS = {
    "discover": ("repository:discover", "List every flow, and what is wrong with it."),
    "validate": ("repository:validate", "Check flows, their configuration and their deployments, all at once."),
    "doctor": ("inspecting:doctor", "Diagnose this installation, and suggest fixes."),
    "build": ("repository:build", "Write the deployments as a standard prefect.yaml."),
    "config show": ("repository:show", "Print the resolved configuration, and where each value was said."),
    "plan": ("deploying:plan", "Say what a deploy would change, field by field."),
    "deploy": ("deploying:deploy", "Create or update every deployment that differs."),
    "clean": ("deploying:clean", "Delete deployments that this project owns."),
    "reconcile": ("deploying:bring_back", "Find what is no longer as it was released, and bring it back."),
    "suspend": ("inspecting:suspend", "Switch reconciliation off, or on again."),
    "rollback": ("deploying:roll_back", "Make an earlier release the current one."),
    "register": ("deploying:register_meta_flows", "Put the meta-flows themselves on the server, to be run in its UI."),
    "status": ("inspecting:status", "Say how each deployment is, how it does, and when it runs."),
    "check-ui": (
        "inspecting:check_ui",
        "Check that everything is as released, is scheduled, and can be seen in the UI.",
    ),
    "releases": ("inspecting:releases", "List the releases that are kept."),
    "unlock": ("inspecting:unlock", "Free an environment whose writer is gone for good."),
    "run": ("running:run", "Run a deployed flow and follow it to its end."),
    "serve": ("running:serve", "Serve flows from this process, without a worker."),
    "images build": ("deploying:build", "Build the images that this machine's Docker engine lacks."),
    "images push": ("deploying:push", "Push the images to the environment's registry."),
    "images pull": ("deploying:pull", "Pull the images from the environment's registry."),
    "worker start": ("running:worker_start", "Run a worker for each work pool of the environment."),
    "server start": ("running:server_start", "Start a Prefect server on this machine, if none answers."),
    "server stop": ("running:server_stop", "Stop the server that we started."),
    "server status": ("running:server_status", "Say whether the server answers."),
}
"""Where each command is, and what it is for."""

GROUPS = {
    "images": "Images of the flows that run in containers.",
    "config": "What is configured, and where it is said.",
    "worker": "Workers for the environment's work pools.",
    "server": "A Prefect server on this machine.",
}

app = App(
    name="meta-flows",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help="Deploys a repository of flows to a Prefect server: discover, plan, apply, verify.",
)
groups = {name: App(name=name, help=purpose) for name, purpose in GROUPS.items()}
for group in groups.values():
    app.command(group)
for words, (home, purpose) in COMMANDS.items():
    above, _, command = words.rpartition(" ")
    groups.get(above, app).command(f"meta_flows.cli.{home}", name=command, help=purpose)


def run() -> None:
    """Run the command of this process, and end the process without taking everything apart, which takes 0.8 s.

    What was registered for the exit still runs: Prefect sends its last logs and events there. The exit code is known
    only then, so the first function that is registered, which is the last to run, ends the process.
    """
    ended: list[int] = []

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(BrokenPipeError):
                stream.flush()
        if ended:
            os._exit(ended[0])

    def end_soon() -> None:
        """Let what Prefect still sends to a server that is gone take no longer than this."""
        watchdog = threading.Timer(LEAVING_SECONDS, end)
        watchdog.daemon = True
        watchdog.start()

    atexit.register(end)
    gc.set_threshold(1_000_000)  # most of what a command makes is the modules that it imports, and they stay
    try:
        main()
    except SystemExit as exited:
        ended.append(exited.code if isinstance(exited.code, int) else 0)
        end_soon()
        raise


def main(arguments: list[str] | None = None) -> None:
    """Run one command; exits 0 when done, 1 when something failed or is invalid, 2 on wrong use."""
    words = sys.argv[1:] if arguments is None else arguments
    if not {"--verbose", "-v"}.intersection(words):
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        code = _explain(MetaFlowsError([diagnostic("MF901", detail=str(error))]), words)
    except MetaFlowsError as error:
        code = _explain(error, words)
    except BrokenPipeError:  # the reader of stdout, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if {"--verbose", "-v"}.intersection(words):
            raise
        code = _explain(refuse("MF902", detail=f"{type(error).__name__}: {error}"), words)
    except KeyboardInterrupt:
        err.print("stopped")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: MetaFlowsError, words: list[str]) -> int:
    if "--json" in words:
        print_json({"errors": error.errors})
    else:
        print_errors(error.errors)
    return error.exit_code
