"""Commands that show what a server has: status, check-ui, doctor, releases; and unlock and suspend."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.variables import Variable
from rich.prompt import Confirm
from rich.text import Text

from meta_flows import engine
from meta_flows.cli.options import Flag, Flows, LocalOrRemote, OnServer
from meta_flows.cli.output import err, out, print_diagnostics, print_json, print_table
from meta_flows.cli.runner import conclude, run_meta_flow, standing_rows
from meta_flows.diagnostics import refuse
from meta_flows.doctor import Finding, examine
from meta_flows.flows import check_ui as check_ui_flow
from meta_flows.local_server import connect
from meta_flows.models import Outcome, Release
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.store import connected_store
from meta_flows.reporting import changes_by_action, counts_in_words, health_reasons
from meta_flows.tasks.checking import inspect, outcomes
from meta_flows.tasks.reconciling import legacy_switch, switch

STATUS_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
RELEASE_COLOURS = {"succeeded": "green", "applying": "yellow", "rolled-back": "yellow"}
RELEASE_FIELDS = {"id", "state", "by", "author", "started", "finished", "restores", "approval", "failures"}


def status(flow: Flows = (), *, on: OnServer = OnServer()) -> int:
    """Show sync status, health and next run of each deployment; exits 0 whatever they are."""
    with connect(on.environment, root=on.repository, api_url=on.api_url) as target, connected_store() as store:
        found = inspect(store, target)
        rows = outcomes(found)
    if flow:
        rows = tuple(row for row in rows if any(_matches(row, glob, target.short_name) for glob in flow))
        if not rows:
            raise refuse("MF109", selection=" ".join(flow))
    release = found.release.id if found.release else None
    if on.wants_json:
        print_json({"environment": target.name, "release": release, "deployments": rows})
        return 0
    wide = on.format == "wide"
    if rows:
        print_table(*standing_rows(rows, wide), wide=wide)
        print_diagnostics(health_reasons(rows))
    out.print(Text(f"{target.name}, release {release or 'none'}: {counts_in_words(rows, 0)}", style="bold"))
    return 0


def _matches(row: Outcome, glob: str, short_name: str) -> bool:
    slug = row.name.removesuffix(f"-{row.kind}-{short_name}")
    return any(fnmatchcase(name, glob) for name in (row.flow_name, row.name, slug))


def check_ui(
    *,
    browser: Annotated[
        Flag, Parameter(help="Open the UI in a browser, too: it has to list each deployment, and to show its page.")
    ] = False,
    screenshots: Annotated[
        Path | None, Parameter(help="Folder for pictures of the pages; build/screenshots/<environment> by default.")
    ] = None,
    wait: Annotated[float, Parameter(help="Seconds to wait for the scheduler to create missing runs.")] = 75,
    on: LocalOrRemote = LocalOrRemote(),
) -> int:
    """Check that everything is as released, is scheduled, and can be seen in the UI."""
    folder = str(screenshots.resolve()) if screenshots else None
    options = {"browser": browser, "screenshots": folder, "wait": wait}
    result = run_meta_flow("Checking", check_ui_flow, on, remote=on.remote, start_local=False, **options)
    return conclude(result, on, standing_rows)


def doctor(*, on: OnServer = OnServer()) -> int:
    """Diagnose this machine, the environment's server and the connections between them; nothing is written."""
    found: list[Finding] = []
    with err.status("Looking..."):
        for finding in examine(on.repository, on.environment, on.api_url):
            found.append(finding)
            if not on.wants_json:
                _show(finding)
    counts = Counter(finding.status for finding in found)
    if on.wants_json:
        print_json({"healthy": not counts["fail"], "findings": found})
    else:
        out.print(Text(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures", style="bold"))
    return 1 if counts["fail"] else 0


def _show(finding: Finding) -> None:
    status, code = (f"{finding.status:<5}", STATUS_COLOURS[finding.status]), f"{finding.code} " if finding.code else ""
    out.print(Text.assemble(status, f"{finding.check:<12} ", code, finding.message))
    if finding.remedy:
        out.print(Text(f"{'':18}remedy: {finding.remedy}", style="dim"))


def releases(*, on: OnServer = OnServer()) -> int:
    """List recorded releases, newest first."""
    with connect(on.environment, root=on.repository, api_url=on.api_url) as target, connected_store() as store:
        found = [_summary(name, release) for name, release in store.read_releases(target.ownership)]
    if on.wants_json:
        print_json({"environment": target.name, "releases": found})
        return 0
    wide = on.format == "wide"
    columns = ("release", "state", "when", "changes", *(("who", "by", "commit", "run") if wide else ("by",)))
    print_table(columns, (_release_row(item, wide) for item in found), wide=wide)
    out.print(f"{len(found)} releases of {target.name}")
    return 0


def _release_row(item: dict[str, Any], wide: bool) -> list[str | Text]:
    state = Text(item["state"], style=RELEASE_COLOURS.get(item["state"], "red"))
    if item["state"] == "unreadable":
        return [item["id"], state, *[""] * (6 if wide else 3)]
    restores = f" to {item['restores']}" if item["restores"] else ""
    by = item["by"] + restores + (f" ({item['approval']})" if item["approval"] else "")
    row: list[str | Text] = [item["id"], state, f"{item['started']:%Y-%m-%d %H:%M:%S}Z", item["changes"]]
    return [*row, item["author"], by, item["commit"], item["run"] or ""] if wide else [*row, by]


def _summary(name: str, release: Release | None) -> dict[str, Any]:
    if release is None:
        return {"id": name, "state": "unreadable"}
    commit = (release.commit or "none")[:12] + (" (dirty)" if release.dirty else "")
    return {
        **release.model_dump(include=RELEASE_FIELDS),
        "commit": commit,
        "changes": changes_by_action(release.plan.changes),
        "run": url_for("flow-run", obj_id=release.flow_run_id) if release.flow_run_id else None,
    }


def unlock(
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", show_default=False, help="Do not ask.")] = False,
    on: OnServer = OnServer(),
) -> int:
    """Release a stale deploy lock: one whose holder is gone for good. A lock without a holder expires by itself."""
    with connect(on.environment, root=on.repository, api_url=on.api_url) as target, connected_store() as store:
        held, holders = engine.read_lock(store, target.ownership)
        if held:
            err.print(Text(f"{target.name} is being written to by {engine.described_writers(holders)}"))
            if not yes and not (err.is_terminal and Confirm.ask("Is it gone for good?", console=err, default=False)):
                raise refuse("MF901", detail="unlocking needs a yes: on a terminal, or with --yes")
            if engine.read_lock(store, target.ownership) != (True, holders):
                detail = f"the lock of {target.name} has another holder now, or its holder is alive"
                raise refuse("MF901", detail=detail)
            engine.release_slot(store, target.ownership)
    if on.wants_json:
        print_json({"environment": target.name, "unlocked": held, "holders": [run.name for run in holders]})
    else:
        out.print(f"{target.name} {'is unlocked' if held else 'was not locked'}")
    return 0


def suspend(
    *,
    resume: Annotated[Flag, Parameter(help="Switch it on again.")] = False,
    on: OnServer = OnServer(),
) -> int:
    """Switch reconciliation off, e.g. during a repair by hand; --resume switches it on again."""
    with connect(on.environment, root=on.repository, api_url=on.api_url) as target:
        Variable.set(switch(target), not resume, overwrite=True)
        if resume:
            Variable.unset(legacy_switch(target))
    if on.wants_json:
        print_json({"environment": target.name, "suspended": not resume})
    else:
        out.print(f"reconciliation of {target.name} is {'on' if resume else 'suspended'}")
    return 0
