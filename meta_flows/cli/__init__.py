"""The `meta-flows` command: a table of contents; each command's module is imported when it is called."""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
import threading
from contextlib import suppress

from cyclopts import App, CycloptsError, Group, Parameter

from meta_flows.cli.output import err, print_diagnostics, print_json
from meta_flows.diagnostics import MetaFlowsError, refuse

LEAVING_SECONDS = 10
"""How long the exit may take: what Prefect could not send by then, it could not for half a minute before."""

COMMANDS = {
    "Repository": {
        "discover": ("repository:discover", "List every flow, and what is wrong with it."),
        "validate": ("repository:validate", "Check flows, configuration and deployments."),
        "config show": ("repository:show", "Print the resolved configuration, and where each value comes from."),
        "build": ("repository:build", "Write the deployments as a standard prefect.yaml."),
    },
    "Deploy": {
        "plan": ("deploying:plan", "Show what a deploy would change, field by field."),
        "deploy": ("deploying:deploy", "Create or update every deployment that differs."),
        "rollback": ("deploying:roll_back", "Restore an earlier release."),
        "reconcile": ("deploying:bring_back", "Detect drift and repair it."),
        "suspend": ("inspecting:suspend", "Switch reconciliation off, or on again."),
        "clean": ("deploying:clean", "Delete this project's deployments."),
        "register": ("deploying:register_meta_flows", "Deploy the meta-flows themselves, to run them from the UI."),
        "unlock": ("inspecting:unlock", "Release a stale deploy lock."),
        "images build": ("deploying:build", "Build the images that this machine's Docker engine lacks."),
        "images push": ("deploying:push", "Push the images to the environment's registry."),
        "images pull": ("deploying:pull", "Pull the images from the environment's registry."),
    },
    "Inspect": {
        "status": ("inspecting:status", "Show sync status, health and next run of each deployment."),
        "releases": ("inspecting:releases", "List recorded releases."),
        "check-ui": ("inspecting:check_ui", "Check that deployments are as released, scheduled, and seen in the UI."),
        "doctor": ("inspecting:doctor", "Diagnose this installation and suggest fixes."),
    },
    "Run": {
        "run": ("running:run", "Run a deployed flow and follow it to its end."),
        "serve": ("running:serve", "Serve flows from this process, without a worker."),
        "worker start": ("running:worker_start", "Run a worker for each work pool of the environment."),
        "server start": ("running:server_start", "Start a Prefect server on this machine, if none answers."),
        "server stop": ("running:server_stop", "Stop the server that `server start` or `deploy` started."),
        "server status": ("running:server_status", "Show whether the server answers."),
    },
}
"""Module and function of each command, and what it is for, by the heading that `--help` shows it under."""

PARENTS = {
    "images": "Build, push and pull the images of flows that run in containers.",
    "config": "Show what is configured, and where.",
    "worker": "Run workers for the environment's work pools.",
    "server": "Start, stop and look at a Prefect server on this machine.",
}

app = App(
    name="meta-flows",
    default_parameter=Parameter(negative=(), show_default=lambda value: value if value not in ((), None) else None),
    suppress_keyboard_interrupt=False,
    help_format="plaintext",
    help="Deploys a repository of flows to a Prefect server: discover, plan, apply, verify.",
)
for position, (heading, commands) in enumerate(COMMANDS.items(), start=1):
    panel = Group(heading, sort_key=position)
    for words, (home, purpose) in commands.items():
        parent, _, command = words.rpartition(" ")
        if parent and parent not in app:
            app.command(App(name=parent, help=PARENTS[parent], group=panel))
        target = app[parent] if parent else app
        target.command(f"meta_flows.cli.{home}", name=command, help=purpose, group=None if parent else panel)
app.register_install_completion_command("install-completion", help="Install tab completion for bash, zsh or fish.")


def run() -> None:
    """Run the command of this process, and end the process without taking everything apart, which takes 0.8 s.

    Functions that are registered for the exit still run: Prefect sends its last logs and events there. The exit code
    is known only then, so the first function that is registered, which is the last to run, ends the process.
    """
    ended: list[int] = []

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(BrokenPipeError):
                stream.flush()
        if ended:
            os._exit(ended[0])

    atexit.register(end)
    gc.set_threshold(1_000_000)  # most of what a command allocates is the modules that it imports, and they stay
    try:
        main()
    except SystemExit as exited:
        ended.append(exited.code if isinstance(exited.code, int) else 0)
        watchdog = threading.Timer(LEAVING_SECONDS, end)  # Prefect still sends to a server that may be gone
        watchdog.daemon = True
        watchdog.start()
        raise


def main(arguments: list[str] | None = None) -> None:
    """Run one command; exits 0 when done, 1 when something failed or is invalid, 2 on wrong use."""
    words = sys.argv[1:] if arguments is None else arguments
    verbose = not {"--verbose", "-v"}.isdisjoint(words)
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        code = _explain(refuse("MF901", detail=str(error)), words)
    except MetaFlowsError as error:
        code = _explain(error, words)
    except BrokenPipeError:  # the reader of stdout, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if verbose:
            raise
        code = _explain(refuse("MF902", detail=f"{type(error).__name__}: {error}"), words)
    except KeyboardInterrupt:
        err.print("stopped")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: MetaFlowsError, words: list[str]) -> int:
    """Print what was refused, and return the exit code; wrong use names the help of its command."""
    errors = error.errors
    if any(item.code == "MF901" for item in errors):
        remedy = f"`meta-flows {' '.join([*app.parse_commands(words)[0], '--help'])}` lists what it takes."
        errors = tuple(item.model_copy(update={"remedy": remedy}) if item.code == "MF901" else item for item in errors)
    if "--json" in words or re.search(r"(^| )(-o|--format)[ =]?json( |$)", " ".join(words)):
        print_json({"errors": errors})
    else:
        print_diagnostics(errors)
    return error.exit_code
