"""A repository of any number of flows that is the same each time, for both tools to deploy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

SHARED_MODULES = 10
"""Modules that flows share; each flow imports one, which imports another."""

SCHEDULES = (
    '{slug: daily, cron: "0 6 * * 1-5", timezone: Europe/Berlin}',
    "{slug: hourly, interval: 3600}",
    '{slug: weekly, rrule: "FREQ=WEEKLY;BYDAY=MO,TH", timezone: America/New_York}',
)


def write_repository(root: Path, count: int) -> None:
    """Write a repository of `count` flows, with our own configuration beside them.

    Every flow has a schedule, every fourth one two; every second takes a pydantic model of a shared module, every fifth
    has a concurrency limit.

    Args:
        root: Where; its name becomes that of the project and of the work pool, and the first part of each flow's and
            deployment's name, so that two may be on one server.
        count: Number of flows.
    """
    for path, content in _files(root.name, count):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(content), encoding="utf-8")


def change_one_flow(root: Path) -> None:
    """Give one flow another default value, as an edit of its code does."""
    file = root / "flows" / f"{root.name}-000" / "workflow.py"
    file.write_text(file.read_text().replace("batch_size: int = 100", "batch_size: int = 200"))


def _files(name: str, count: int) -> Iterator[tuple[str, str]]:
    yield "environments/defaults.yaml", f"project: {name}\ndefault_parameters: {{cleanup: true}}\n"
    yield "environments/development.yaml", f"work_pools: {{python: {name}}}\nresource_limits: {{memory: 512Mi}}\n"
    for number in range(SHARED_MODULES):
        yield f"shared/module{number}.py", _shared_module(number)
    for number in range(count):
        yield f"flows/{name}-{number:03}/workflow.py", _flow(name, number)
        yield f"flows/{name}-{number:03}/deployment.yaml", _deployment(number)


def _shared_module(number: int) -> str:
    below = f"from shared import module{number - 1}\n" if number else ""
    return f'''\
"""Shared module {number}."""
{below}
from datetime import date

from pydantic import BaseModel, Field


class Window(BaseModel):
    """The days to work on."""

    first: date = date(2026, 1, {number + 1})
    days: int = Field(default=7, gt=0, description="Number of days")
    tags: list[str] = []


def rows(window: Window, batch_size: int) -> list[dict[str, int]]:
    """Some rows."""
    return [{{"batch": size, "days": window.days}} for size in range(0, 1000, batch_size)]
'''


def _flow(name: str, number: int) -> str:
    module = f"module{number % SHARED_MODULES}"
    window = f"window: {module}.Window = {module}.Window(), " if number % 2 else ""
    return f'''\
"""Flow {number}."""

from typing import Literal

from prefect import flow, task
from shared import {module}


@task(retries=2)
def load(rows: list[dict[str, int]]) -> int:
    """Count the rows."""
    return len(rows)


@flow(name="{name}-{number:03}", retries=1)
def process(
    {window}batch_size: int = 100, mode: Literal["full", "delta"] = "delta", cleanup: bool = False
) -> int:
    """Load one batch after the other.

    Args:
        batch_size: Rows at a time.
        mode: Everything, or what is new.
        cleanup: Whether to remove what is left over.
    """
    return load({module}.rows({"window" if window else f"{module}.Window()"}, batch_size))
'''


def _deployment(number: int) -> str:
    chosen = SCHEDULES[number % 3 :][: 1 if number % 4 else 2]
    limit = "concurrency_limit: 1\n" if number % 5 == 0 else ""
    schedules = "".join(f"  - {schedule}\n" for schedule in chosen)
    return f"tags: [team-{number % 7}]\nparameters: {{batch_size: {number + 1}}}\n{limit}schedules:\n{schedules}"
