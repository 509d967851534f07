"""The `meta-flows` command: a table of contents; each command's module is imported when it is called."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError

from meta_flows.commands.output import err, print_errors, print_json
from meta_flows.errors import MetaFlowsError, problem

app = App(name="meta-flows", help="Deploys a repository of flows to a Prefect server: discover, plan, apply, verify.")
app.command("meta_flows.commands.flows:discover", name="discover")
app.command("meta_flows.commands.flows:validate", name="validate")
app.command("meta_flows.commands.flows:build", name="build")
app.command("meta_flows.commands.deploying:deploy", name="deploy")
app.command("meta_flows.commands.running:run", name="run")
app.command("meta_flows.commands.running:serve", name="serve")

server = App(name="server", help="A Prefect server on this machine.")
server.command("meta_flows.commands.running:server_start", name="start")
server.command("meta_flows.commands.running:server_stop", name="stop")
server.command("meta_flows.commands.running:server_status", name="status")
app.command(server)

worker = App(name="worker", help="Workers for the environment's work pools.")
worker.command("meta_flows.commands.running:worker_start", name="start")
app.command(worker)

config = App(name="config", help="What is configured, and where it is said.")
config.command("meta_flows.commands.configuration:show", name="show")
app.command(config)


def main(arguments: list[str] | None = None) -> None:
    """Run one command; exits 0 when done, 1 when something failed or is invalid, 2 on wrong use."""
    words = sys.argv[1:] if arguments is None else arguments
    if not {"--verbose", "-v"}.intersection(words):
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        code = _explain(MetaFlowsError([problem("MF901", detail=str(error))], exit_code=2), words)
    except MetaFlowsError as error:
        code = _explain(error, words)
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
