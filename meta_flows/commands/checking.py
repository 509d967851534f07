"""Commands that look: at deployments as they are, and at the UI that shows them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table
from rich.text import Text

from meta_flows.commands.deploying import conclude, run_meta_flow
from meta_flows.commands.options import ApiUrl, Common, EnvironmentName, Flag, Where
from meta_flows.commands.output import health_text, out, print_json, print_table, table
from meta_flows.connecting import connect
from meta_flows.flows import check_ui as check
from meta_flows.models import Outcome
from meta_flows.prefect_api.store import connected_store
from meta_flows.reporting import OUTCOMES, counts_in_words, runs_in_words
from meta_flows.tasks.checking import inspect, outcomes


def status(*, environment: EnvironmentName = None, api_url: ApiUrl = None, common: Common = Common()) -> int:
    """Say of each deployment whether it is as it was released, how it does, and when it runs; exits 0 whatever it is.

    Args:
        environment: Which environment.
        api_url: Server in place of the one the shell or the environment's file names.
        common: What to work on, and how to speak.
    """
    with connect(environment, root=common.root, api_url=api_url) as target, connected_store() as store:
        found = inspect(store, target)
        rows = outcomes(found)
    release = found.release.id if found.release else None
    if common.json:
        print_json({"environment": target.name, "release": release, "deployments": rows})
        return 0
    if rows:
        print_table(_standing(rows))
    out.print(Text(f"{target.name}, release {release or 'none'}: {counts_in_words(rows, 0)}", style="bold"))
    return 0


def check_ui(
    *,
    environment: EnvironmentName = None,
    browser: Flag = False,
    screenshots: Path | None = None,
    wait: float = 75,
    where: Where = Where(),
    common: Common = Common(),
) -> int:
    """Check that everything is as it was released, is scheduled, and can be seen in the UI.

    Args:
        environment: Which environment.
        browser: Open the UI in a browser, too, and compare what each deployment's page displays.
        screenshots: Folder for pictures of the pages; build/screenshots/<environment> if not given.
        wait: How many seconds the scheduler may take for runs that are not scheduled yet.
        where: Where it runs.
        common: What to work on, and how to speak.
    """
    folder = str(screenshots.resolve()) if screenshots else None
    asked = {"browser": browser, "screenshots": folder, "wait": wait}
    result = run_meta_flow("Checking", check, environment, where, common, start_local=False, **asked)
    return conclude(result, common, _standing)


def _standing(rows: Iterable[Outcome]) -> Table:
    shown = table("deployment", "sync", "health", "schedule", "next run", "last run", "link")
    for row in rows:
        sync = Text(row.state, style=OUTCOMES[row.state][1])
        schedules = "\n".join(row.schedules.values())
        shown.add_row(row.name, sync, health_text(row.health), schedules, *runs_in_words(row.health), row.link or "")
    return shown
