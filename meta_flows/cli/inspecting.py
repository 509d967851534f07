"""Commands that show what a server has: status, check-ui, doctor, releases; and unlock and suspend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.variables import Variable
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from meta_flows import engine
from meta_flows.cli.options import ApiUrl, Common, EnvironmentName, Flag, Where
from meta_flows.cli.output import err, health_text, out, print_json, print_table, table
from meta_flows.cli.runner import conclude, run_meta_flow
from meta_flows.diagnostics import refuse
from meta_flows.doctor import Finding, examine
from meta_flows.flows import check_ui as check
from meta_flows.local_server import connect
from meta_flows.models import Outcome, Release
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.store import connected_store
from meta_flows.reporting import OUTCOMES, changes_by_action, counts_in_words, runs_in_words
from meta_flows.tasks.checking import inspect, outcomes
from meta_flows.tasks.reconciling import legacy_switch, switch


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


COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    *,
    environment: EnvironmentName = None,
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Examine this machine, the environment's server and the ways between them; nothing is written or started."""
    found = list[Finding]()
    with err.status("Looking..."):
        for finding in examine(common.root.resolve(), environment, api_url):
            found.append(finding)
            if not common.json:
                _show(finding)
    counts = Counter(finding.status for finding in found)
    if common.json:
        print_json({"healthy": not counts["fail"], "findings": found})
    else:
        out.print(Text(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures", style="bold"))
    return 1 if counts["fail"] else 0


def _show(finding: Finding) -> None:
    code = f"{finding.code} " if finding.code else ""
    out.print(
        Text.assemble((f"{finding.status:<5}", COLOURS[finding.status]), f"{finding.check:<12} ", code, finding.message)
    )
    if finding.remedy:
        out.print(Text(f"{'':18}remedy: {finding.remedy}", style="dim"))


TOLD = {"id", "state", "by", "author", "started", "finished", "restores", "approval", "failures"}

STATE_COLOURS = {"succeeded": "green", "applying": "yellow", "rolled-back": "yellow"}


def releases(*, environment: EnvironmentName = None, api_url: ApiUrl = None, common: Common = Common()) -> int:
    """List the releases of an environment that are kept, newest first.

    Args:
        environment: Which environment.
        api_url: Server in place of the one the shell or the environment's file names.
        common: What to work on, and how to speak.
    """
    with connect(environment, root=common.root, api_url=api_url) as target, connected_store() as store:
        found = [_summary(name, release) for name, release in store.read_releases(target.ownership)]
    if common.json:
        print_json({"environment": target.name, "releases": found})
        return 0
    shown = table("release", "state", "when", "who", "by", "commit", "changes", "run")
    for item in found:
        state = Text(item["state"], style=STATE_COLOURS.get(item["state"], "red"))
        if item["state"] == "unreadable":
            shown.add_row(item["id"], state)
            continue
        when = f"{item['started']:%Y-%m-%d %H:%M:%S}Z"
        restores = f" to {item['restores']}" if item["restores"] else ""
        by = item["by"] + restores + (f" ({item['approval']})" if item["approval"] else "")
        shown.add_row(item["id"], state, when, item["author"], by, item["commit"], item["changes"], item["run"])
    print_table(shown)
    out.print(f"{len(found)} releases of {target.name}")
    return 0


def _summary(name: str, release: Release | None) -> dict[str, Any]:
    if release is None:
        return {"id": name, "state": "unreadable"}
    commit = (release.commit or "none")[:12] + (" (dirty)" if release.dirty else "")
    return {
        **release.model_dump(include=TOLD),
        "commit": commit,
        "changes": changes_by_action(release.plan.changes),
        "run": url_for("flow-run", obj_id=release.flow_run_id) if release.flow_run_id else None,
    }


def unlock(
    *,
    environment: EnvironmentName = None,
    yes: Flag = False,
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Free an environment whose writer is gone for good; a slot without a holder frees itself.

    Args:
        environment: Which environment.
        yes: Do not ask.
        api_url: Server in place of the one the shell or the environment's file names.
        common: What to work on, and how to speak.
    """
    with connect(environment, root=common.root, api_url=api_url) as target, connected_store() as store:
        held, holders = engine.read_lock(store, target.ownership)
        if held:
            err.print(Text(f"{target.name} is being written to by {engine.described_writers(holders)}"))
            if not yes and not (err.is_terminal and Confirm.ask("Is it gone for good?", console=err, default=False)):
                raise refuse("MF901", detail="unlocking needs a yes: on a terminal, or with --yes")
            if engine.read_lock(store, target.ownership) != (True, holders):
                detail = f"the lock of {target.name} has another holder now, or its holder is alive"
                raise refuse("MF901", detail=detail)
            engine.release_slot(store, target.ownership)
    if common.json:
        print_json({"environment": target.name, "unlocked": held, "holders": [run.name for run in holders]})
    else:
        out.print(f"{target.name} {'is unlocked' if held else 'was not locked'}")
    return 0


def suspend(
    *,
    environment: EnvironmentName = None,
    resume: Annotated[bool, Parameter(name="--resume", negative="")] = False,
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Switch reconciliation off, e.g. during a repair by hand; --resume switches it on again.

    Args:
        environment: Which environment.
        resume: Switch it on again.
        api_url: Server in place of the one the shell or the environment's file names.
        common: What to work on, and how to speak.
    """
    with connect(environment, root=common.root, api_url=api_url) as target:
        Variable.set(switch(target), not resume, overwrite=True)
        if resume:
            Variable.unset(legacy_switch(target))
    if common.json:
        print_json({"environment": target.name, "suspended": not resume})
    else:
        out.print(f"reconciliation of {target.name} is {'on' if resume else 'suspended'}")
    return 0
