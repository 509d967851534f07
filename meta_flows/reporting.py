"""Report the result of a meta-flow in words: summary, failures first, then every deployment."""

from __future__ import annotations

import html
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Any

from meta_flows.engine import DONE
from meta_flows.models import Change, DeployResult, Diagnostic, FieldChange, Health, Outcome, printable
from meta_flows.resources import TYPES

PLANNED = {"create": "ToCreate", "update": "ToUpdate", "delete": "ToDelete", "unchanged": "Unchanged"}
"""State of a change that is only planned, by its action."""

OUTCOMES = {
    "Failed": ("failed", "red"),
    "Crashed": ("crashed", "red"),
    "NotRestored": ("not restored", "red"),
    "NotTried": ("not tried", "red"),
    "RolledBack": ("rolled back", "yellow"),
    "Created": ("created", "green"),
    "Updated": ("updated", "yellow"),
    "Deleted": ("deleted", "red"),
    "ToCreate": ("to create", "green"),
    "ToUpdate": ("to update", "yellow"),
    "ToDelete": ("to delete", "red"),
    "Missing": ("missing", "red"),
    "Drifted": ("not as released", "yellow"),
    "Unreleased": ("not released", "yellow"),
    "InSync": ("in sync", "dim"),
    "Unchanged": ("unchanged", "dim"),
}
"""States of a resource in reports: in words, and with a colour; the worst first."""

FAILED = {
    "NotVerified": "not what it should be",
    "Invalid": "not valid",
    "Rejected": "as it was: the plan was rejected",
    "Incomplete": "incomplete",
    "RolledBack": "rolled back: something failed, and everything is as it was before",
    "RollbackIncomplete": "NOT rolled back completely: something failed, and so did a part of the rollback",
    "Failed": "as the run left it: it failed",
    "Crashed": "as the run left it: it crashed",
    "Cancelled": "as the run left it: it was cancelled",
}
"""Endings of a meta-flow that are failures: the name of its run's final state, and the environment in words."""

RESULTS = {
    "InSync": "in sync",
    "Planned": "planned, nothing was written",
    "Deployed": "deployed",
    "Registered": "registered",
    "Restored": "as it was released before",
    "Cleaned": "cleaned",
    "Drifted": "not as it was released",
    "Repaired": "as it was released again",
    "Suspended": "not looked at: reconciliation is suspended",
    "Busy": "not looked at: a deploy is under way",
    "Built": "built",
    "Pushed": "pushed",
    "Pulled": "pulled",
    "Valid": "valid",
    "Verified": "as it was released, and the UI can show it",
    **FAILED,
}
"""All endings of a meta-flow."""

HEALTH = {"Unhealthy": "red", "Degraded": "yellow", "Progressing": "cyan", "Unknown": "dim", "Healthy": "green"}
"""Statuses of health with a colour; the worst first."""


def health_in_words(health: Health | None) -> str:
    """Return the status of health and its reasons, e.g. `Degraded: an operator has paused the deployment`."""
    if health is None:
        return ""
    reasons = "; ".join(reason.message for reason in health.reasons)
    return f"{health.status}: {reasons}" if reasons else health.status


def health_reasons(rows: Iterable[Outcome], known: Collection[Diagnostic] = ()) -> tuple[Diagnostic, ...]:
    """Return each reason of poor health once, with the deployments that it is about, except what is known already."""
    names_by_reason: defaultdict[Diagnostic, list[str]] = defaultdict(list)
    for row in rows:
        for reason in row.health.reasons if row.health else ():
            names_by_reason[reason].append(row.name)
    reasons = []
    for reason, names in names_by_reason.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        about = reason.model_copy(update={"message": f"{names[0]}{others}: {reason.message}"})
        reasons += [about] if reason not in known and about not in known else []
    return tuple(reasons)


def runs_in_words(health: Health | None) -> tuple[str, str]:
    """Return the start of the next run, and the state and end of the last one."""
    if health is None:
        return "", ""
    last = health.last_run
    next_run = f"{health.next_run:%Y-%m-%d %H:%M}Z" if health.next_run else ""
    return next_run, f"{last.state} {last.ended:%Y-%m-%d %H:%M}Z" if last else ""


def deployments(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the rows of deployments."""
    return [outcome for outcome in outcomes if outcome.type == "deployment"]


def others(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the rows of other resources; those that do not change have none."""
    return [outcome for outcome in outcomes if outcome.type != "deployment"]


def titled(outcome: Outcome) -> str:
    """Return a deployment's name, or the type and name of another resource."""
    return outcome.name if outcome.type == "deployment" else f"{TYPES[outcome.type].title} {outcome.name}"


def counts_in_words(outcomes: Iterable[Outcome], refused: int) -> str:
    """Return counts by state, e.g. `2 created, 1 unchanged, 1 refused, work pool dev-python created`."""
    rows = tuple(outcomes)
    counted = Counter(outcome.state for outcome in deployments(rows))
    words = [f"{counted[state]} {text}" for state, (text, _) in OUTCOMES.items() if state in counted]
    words += [f"{refused} refused"] if refused else []
    words += [f"{titled(outcome)} {OUTCOMES[outcome.state][0]}" for outcome in others(rows)]
    return ", ".join(words) or "nothing there"


def changes_by_action(changes: Iterable[Change]) -> str:
    """Return counts by action, e.g. `2 create, 1 unchanged`."""
    counted = Counter[str](change.action for change in changes)
    return ", ".join(f"{counted[action]} {action}" for action in DONE if counted[action]) or "nothing"


def changes_in_words(result: DeployResult) -> Iterator[tuple[str, list[str]]]:
    """Yield each changed resource, and since when it may have drifted, with its changed fields."""
    for outcome in result.outcomes:
        created = outcome.type == "deployment" and outcome.state in (DONE["create"], PLANNED["create"])
        if outcome.fields and not created:
            since = f" (last written to {outcome.updated:%Y-%m-%d %H:%M:%S}Z)" if outcome.updated else ""
            drifted = any(field.drift for field in outcome.fields)
            yield titled(outcome) + (since if drifted else ""), [field_in_words(field) for field in outcome.fields]


def field_in_words(change: FieldChange, width: int = 80) -> str:
    """Return a changed field down to the values that differ, e.g. `parameters.batch_size: 100 → 1000`, `tags: +eu`."""
    parts = (
        f"{path}: {_change(old, new, width)}" for path, old, new in _differences(change.path, change.old, change.new)
    )
    return ", ".join(parts) + (" (drift)" if change.drift else "")


def _change(old: Any, new: Any, width: int) -> str:
    if _differ_as_sets(old, new):
        added, removed = [item for item in new if item not in old], [item for item in old if item not in new]
        return " ".join([*(f"+{item}" for item in added), *(f"-{item}" for item in removed)])
    texts = [json.dumps(value, ensure_ascii=False, default=str) for value in (old, new)]
    return " → ".join(text if len(text) <= width else f"{text[: width - 1]}…" for text in texts)


def _differ_as_sets(old: Any, new: Any) -> bool:
    """Return whether both are lists of texts, and not only their order differs."""
    lists = isinstance(old, list) and isinstance(new, list)
    return lists and all(isinstance(item, str) for item in (*old, *new)) and {*old} != {*new}


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the innermost values that differ, with their paths."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                yield from _differences(f"{path}.{key}", old.get(key), new.get(key))
    elif _differ_as_sets(old, new):
        yield path, old, new
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                yield from _differences(f"{path}.{index}", before, after)
    else:
        yield path, old, new


PICTURED = range(2, 25)
"""Numbers of changes for which a diagram helps."""

_BORDERS = {"green": "#2e7d32", "yellow": "#b26a00", "red": "#c62828"}


def _picture(outcomes: Iterable[Outcome]) -> list[str]:
    """Return a diagram of the changed deployments by flow, as markdown that the Prefect UI draws."""
    changed = [outcome for outcome in by_severity(deployments(outcomes)) if OUTCOMES[outcome.state][1] in _BORDERS]
    flows = {name: f"f{index}" for index, name in enumerate(dict.fromkeys(item.flow_name for item in changed))}
    if len(changed) not in PICTURED or len(flows) == len(changed):  # a row of pairs says no more than the table
        return []
    lines = ["```mermaid", "flowchart LR", *(f'    {node}(["{_quoted(name)}"])' for name, node in flows.items())]
    for index, item in enumerate(changed):
        text, colour = OUTCOMES[item.state]
        lines += [f'    {flows[item.flow_name]} -->|{text}| d{index}["{_quoted(item.name)}"]']
        lines += [f"    style d{index} stroke:{_BORDERS[colour]},stroke-width:2px"]
    return [*lines, "```", ""]


def _quoted(text: str) -> str:
    """Return a text escaped for the quotes of mermaid."""
    return html.escape(printable(text)).replace("\n", " ").replace("`", "#96;")


def escaped(text: str) -> str:
    """Return a text escaped for markdown: no HTML, links or table cells; `code` in it stays code."""
    parts = printable(text).replace("\n", " ").split("`")
    if len(parts) % 2 == 0:  # a backtick that is not closed
        parts = ["\\`".join(parts)]
    parts[::2] = [re.sub(r"([\[\]|])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
    return "`".join(parts)


def _code(text: str) -> str:
    return f"`{printable(text).replace('`', chr(39))}`"


QUESTION_ORDER = [PLANNED[action] for action in ("delete", "update", "create")]
QUESTION_ITEMS = 8
QUESTION_DETAILS = 2
QUESTION_WIDTH = 100


def question(result: DeployResult, plan_link: str | None = None) -> str:
    """Summarise a plan for the form that asks for its approval: counts, the first changes, and a link to all of it.

    Deletions come first, then updates, creations, and what is not deployed. However large the plan is, the text has 12
    lines at most, so that the form's fields are in sight below it.
    """
    changes = [outcome for outcome in result.outcomes if outcome.state != PLANNED["unchanged"]]
    changes.sort(key=lambda item: (QUESTION_ORDER.index(item.state), item.type == "deployment", titled(item)))
    items = [
        *map(_change_in_question, changes),
        *(f"not deployed: {escaped(_cut(error.message))}" for error in result.refused),
        *(escaped(_cut(note)) for note in result.notes),
    ]
    lines = [f"**{result.environment}: {escaped(_cut(result.message))}**", ""]
    lines += [f"- {item}" for item in items[:QUESTION_ITEMS]]
    hidden = len(items) - QUESTION_ITEMS
    plan = f"[the full plan]({plan_link})" if plan_link else "the full plan among this run's artifacts"
    return "\n".join([*lines, "", f"... and {hidden} more: see {plan}." if hidden > 0 else f"See {plan}."])


def _change_in_question(outcome: Outcome) -> str:
    """Return a change in one line, with its first fields, or with its schedules if it is created."""
    if outcome.type == "deployment" and outcome.state == PLANNED["create"]:
        details = [escaped(schedule) for schedule in outcome.schedules.values()]
    else:
        details = [_code(_cut(field_in_words(field))) for field in outcome.fields]
    if outcome.reason:
        details.insert(0, escaped(_cut(outcome.reason)))
    hidden = len(details) - QUESTION_DETAILS
    shown = "; ".join(details[:QUESTION_DETAILS]) + (f"; and {hidden} more" if hidden > 0 else "")
    title = f"{OUTCOMES[outcome.state][0]}: **{escaped(_cut(titled(outcome)))}**"
    return f"{title}: {shown}" if shown else title


def _cut(text: str) -> str:
    return text if len(text) <= QUESTION_WIDTH else f"{text[: QUESTION_WIDTH - 1]}…"


def by_severity(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return rows sorted by state and health, worst first, then by name."""
    states, statuses = list(OUTCOMES), list(HEALTH)

    def severity(outcome: Outcome) -> tuple[int, int, str]:
        status = outcome.health.status if outcome.health else "Unknown"
        return states.index(outcome.state), statuses.index(status), outcome.name

    return sorted(outcomes, key=severity)


def comment(result: DeployResult) -> str:
    """Return the report, short enough for a comment on a pull request."""
    return shortened(markdown(result).split("\n"))


LONGEST_LINE = 2_000
"""Longest line in characters, so that one line does not take the space of all others."""


def shortened(lines: list[str], limit: int = 60_000) -> str:
    """Return lines as one text of at most `limit` bytes; the lines that do not fit are counted."""
    kept: list[str] = []
    for index, line in enumerate(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in lines):
        limit -= len(line.encode()) + 1
        if limit < 0:
            return "\n".join(
                [*kept, "", f"... and {len(lines) - index} more lines; the whole plan is in its artifact."]
            )
        kept.append(line)
    return "\n".join(kept)


def _findings(findings: Iterable[Diagnostic]) -> Iterator[str]:
    """Yield diagnostics as markdown, file by file."""
    for path, inner in by_file(findings):
        if path:
            yield f"**{escaped(path)}**"
            yield ""
        for error in inner:
            place = f"line {error.line_number}: " if error.line_number else ""
            yield f"- {place}**{error.code}** {escaped(error.message)}  "
            yield f"  *{escaped(error.remedy)}*"
        yield ""


def by_file(findings: Iterable[Diagnostic]) -> list[tuple[str, list[Diagnostic]]]:
    """Return diagnostics by file, sorted by line; first those without a file."""
    ordered = sorted(findings, key=lambda item: (item.file_path or "", item.line_number or 0, item.code))
    return [(path, list(inner)) for path, inner in groupby(ordered, key=lambda item: item.file_path or "")]


def _change_cells(outcome: Outcome) -> dict[str, str]:
    health = outcome.health
    waits = health is not None and health.status == "Progressing"  # the report's warnings say for what, once
    return {
        "deployment": _linked(outcome),
        "flow": escaped(outcome.flow_name),
        "kind": outcome.kind,
        "change": escaped(f"{outcome.state}: {outcome.reason}" if outcome.reason else outcome.state),
        "schedule": _schedules(outcome),
        "health": "Progressing" if waits else escaped(health_in_words(health)),
    }


def _standing_cells(outcome: Outcome) -> dict[str, str]:
    codes = ", ".join(reason.code for reason in outcome.health.reasons) if outcome.health else ""
    next_run, last_run = runs_in_words(outcome.health)
    return {
        "deployment": _linked(outcome),
        "sync": outcome.state,
        "health": (outcome.health.status if outcome.health else "") + (f": {codes}" if codes else ""),
        "schedule": _schedules(outcome),
        "next run": next_run,
        "last run": last_run,
    }


def _linked(outcome: Outcome) -> str:
    name = escaped(outcome.name)
    return f"[{name}]({outcome.link})" if outcome.link else name


def _schedules(outcome: Outcome) -> str:
    return "<br>".join(map(escaped, outcome.schedules.values()))


def _table(rows: list[dict[str, str]]) -> list[str]:
    """Return the lines of a table without its empty columns."""
    columns = [column for column in rows[0] if any(row[column] for row in rows)]
    lines = [f"| {' | '.join(row[column] for column in columns)} |" for row in rows]
    return [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|", *lines, ""]


def markdown(result: DeployResult) -> str:
    """Return the report of a meta-flow, as markdown for its artifact."""
    lines = [f"# {result.state}: {result.environment}", "", f"**{escaped(result.message)}**", ""]
    if result.run_link:
        lines += [f"[This run]({result.run_link})" + (f" · release `{result.release}`" if result.release else ""), ""]
    refused = {"Invalid": "Errors", "NotVerified": "Failures"}.get(result.state, "Not deployed")
    for title, findings in ((refused, result.refused), ("Warnings", result.warnings)):
        if findings:
            lines += [f"## {title}", "", *_findings(findings), ""]
    for name, rows in groupby(others(result.outcomes), key=lambda outcome: outcome.type):
        title = TYPES[name].title
        cells = [{title: _linked(outcome), "type": outcome.kind, "change": outcome.state} for outcome in rows]
        lines += [f"## {title.capitalize()}s", "", *_table(cells)]
    if shown := deployments(result.outcomes):
        to_cells = _standing_cells if result.state in ("Verified", "NotVerified") else _change_cells
        lines += ["## Deployments", "", *_table([to_cells(outcome) for outcome in by_severity(shown)])]
    if changed := list(changes_in_words(result)):
        lines += ["## Changed fields", ""]
        for title, fields in changed:
            lines += [f"**{escaped(title)}**", "", *(f"- {_code(field)}" for field in fields), ""]
    if result.notes:
        lines += ["## Notes", "", *(f"- {escaped(note)}" for note in result.notes), ""]
    return "\n".join([*lines, *_picture(result.outcomes)])
