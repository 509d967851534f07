"""What a deploy did, in words: summary, failures first, then every deployment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from meta_flows.models import DeployResult, FieldChange, Outcome

FAILURES_FIRST = ("Failed", "Crashed", "NotTried", "Created", "Updated", "ToCreate", "ToUpdate", "Unchanged")


def schedule_in_words(schedule: Mapping[str, Any]) -> str:
    """One schedule of a spec as a person would say it, e.g. `0 6 * * 1-5 Europe/Berlin`."""
    timing = schedule["schedule"]
    if "interval" in timing:
        words = f"every {timedelta(seconds=timing['interval'])}"
    else:
        rule = timing.get("cron") or timing["rrule"].rpartition("\n")[2].removeprefix("RRULE:").replace(";", "; ")
        words = f"{rule} {timing.get('timezone') or 'UTC'}"
    return words if schedule.get("active", True) else f"{words} (paused)"


def counts_in_words(outcomes: Iterable[Outcome], refused: int) -> str:
    """How many of each, e.g. `2 created, 1 unchanged, 1 refused`."""
    counted: dict[str, int] = {}
    for outcome in outcomes:
        counted[outcome.state] = counted.get(outcome.state, 0) + 1
    words = [f"{counted[state]} {_words(state)}" for state in FAILURES_FIRST if state in counted]
    return ", ".join([*words, *([f"{refused} refused"] if refused else [])]) or "nothing to deploy"


def _words(state: str) -> str:
    return f"to {state[2:].lower()}" if state.startswith("To") else state.lower()


def field_in_words(change: FieldChange, width: int = 80) -> str:
    """One changed field down to what differs in it, e.g. `parameters.batch_size: 100 → 1000`."""

    def short(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text if len(text) <= width else f"{text[: width - 1]}…"

    drift = " (drift)" if change.drift else ""
    parts = (f"{path}: {short(old)} → {short(new)}" for path, old, new in _inner(change.path, change.old, change.new))
    return ", ".join(parts) + drift


def _inner(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The innermost values that differ between two, with their paths."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                yield from _inner(f"{path}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                yield from _inner(f"{path}.{index}", before, after)
    else:
        yield path, old, new


def markdown(result: DeployResult) -> str:
    """The report artifact of a deploy."""
    lines = [f"# {result.state}: {result.environment}", "", f"**{result.message}**", ""]
    if result.run_link:
        lines += [f"[This run]({result.run_link})" + (f" · release `{result.release}`" if result.release else ""), ""]
    if result.refused:
        lines += ["## Not deployed", ""]
        for error in result.refused:
            where = f"`{error.place}` " if error.place else ""
            lines += [f"- {where}**{error.code}** {error.message}  ", f"  *{error.remedy}*"]
        lines += [""]
    if result.outcomes:
        lines += [
            "## Deployments",
            "",
            "| deployment | flow | kind | change | schedule |",
            "| --- | --- | --- | --- | --- |",
        ]
        for outcome in sorted(result.outcomes, key=lambda item: (FAILURES_FIRST.index(item.state), item.name)):
            name = f"[{outcome.name}]({outcome.link})" if outcome.link else outcome.name
            schedules = "<br>".join(outcome.schedules.values()).replace("|", "\\|")
            lines += [f"| {name} | {outcome.flow_name} | {outcome.kind} | {outcome.state} | {schedules} |"]
        lines += [""]
    changed = [
        outcome for outcome in result.outcomes if outcome.fields and outcome.state not in ("Created", "ToCreate")
    ]
    if changed:
        lines += ["## Changed fields", ""]
        for outcome in changed:
            lines += [f"**{outcome.name}**", "", *(f"- `{field_in_words(field)}`" for field in outcome.fields), ""]
    if result.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in result.notes), ""]
    return "\n".join(lines)
