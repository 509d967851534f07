"""The `doctor` command: what is wrong with this installation, and how to fix it."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from meta_flows.commands.options import ApiUrl, Common, EnvironmentName
from meta_flows.commands.output import err, out, print_json
from meta_flows.doctor import Finding, examine

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
