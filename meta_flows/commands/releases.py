"""Commands about the record of releases, the lock, and the switch of reconciliation."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from prefect.variables import Variable
from rich.prompt import Confirm
from rich.text import Text

from meta_flows import engine
from meta_flows.commands.options import ApiUrl, Common, EnvironmentName, Flag
from meta_flows.commands.output import err, out, print_json, print_table, table
from meta_flows.connecting import connect
from meta_flows.errors import refuse
from meta_flows.models import Release
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.store import connected_store
from meta_flows.reporting import changes_by_action
from meta_flows.tasks.reconciling import legacy_switch, switch

TOLD = {"id", "state", "by", "author", "started", "finished", "restores", "approval", "failures"}

COLOURS = {"succeeded": "green", "applying": "yellow", "rolled-back": "yellow"}


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
        state = Text(item["state"], style=COLOURS.get(item["state"], "red"))
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
            engine.free(store, target.ownership)
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
