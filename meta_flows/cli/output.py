"""What the commands print: results on stdout, all else on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from meta_flows.models import Diagnostic, Health, ValidationResult, printable
from meta_flows.reporting import HEALTH, by_file, health_in_words

if TYPE_CHECKING:
    from meta_flows.prefect_api.runs import Log


WIDEST_TABLE = 240
"""Columns of text that a table may take: a link that is cut or folded cannot be followed."""


class PlainConsole(Console):
    """A console that obeys nothing in what it prints: no markup, no control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render something; what a terminal would obey is shown as an escape."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


_PLAIN: Mapping[str, Any] = {"highlight": False, "markup": False, "emoji": False}
out = PlainConsole(soft_wrap=True, **_PLAIN)
wide = PlainConsole(width=WIDEST_TABLE, **_PLAIN)
err = PlainConsole(stderr=True, soft_wrap=True, **_PLAIN)


def print_json(content: BaseModel | Mapping[str, Any]) -> None:
    """Print one JSON document."""
    sys.stdout.write(printable(TypeAdapter(Any).dump_json(content, indent=2).decode()) + "\n")


def print_errors(errors: Iterable[Diagnostic]) -> None:
    """List errors, each with its place, code and remedy, grouped by file."""
    for error in sorted(errors, key=lambda item: (item.file_path or "", item.line_number or 0)):
        place = f"{error.place}: " if error.place else ""
        colour = "red" if error.severity == "error" else "yellow"
        mark = "✗ " if error.severity == "error" else "! "
        err.print(Text.assemble((mark, colour), (place, "bold"), (error.code, colour), " ", error.message))
        err.print(Text(f"    remedy: {error.remedy}", style="dim"))


def print_findings(found: ValidationResult) -> None:
    """List what rules say, file by file."""
    for path, findings in by_file((*found.errors, *found.warnings)):
        err.print(Text(path or "not in a file", style="bold"))
        for finding in findings:
            colour = "red" if finding.severity == "error" else "yellow"
            place = ":".join(str(part) for part in (finding.line_number, finding.column_number) if part)
            err.print(Text.assemble(f"  {place:>7} ", (f"{finding.severity} {finding.code} ", colour), finding.message))
            err.print(Text(f"          {finding.remedy}", style="dim"))


def note(text: str) -> None:
    """Say something that is worth knowing."""
    err.print(Text(text, style="dim"))


@contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[str, int, int], None]]:
    """A line on the terminal that says what is being done, and how far it is where that is told."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        line = shown.add_task(f"{doing}...", total=None, count="")

        def show(step: str, done: int, total: int) -> None:
            shown.update(line, description=f"{doing}: {step}", completed=done, total=total, count=f"{done} of {total}")

        yield show


def print_log(console: Console, line: Log) -> None:
    """Print one line of a run's log."""
    colour = "red" if line.level >= logging.ERROR else "yellow" if line.level >= logging.WARNING else ""
    console.print(Text(f"{line.timestamp:%H:%M:%S} {line.message}", style=colour))


def table(*columns: str) -> Table:
    """A table without a frame."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column == "link")
    return made


def health_text(health: Health | None, *, why: bool = True) -> Text:
    """How a deployment does, in its colour, and why."""
    if health is None:
        return Text()
    return Text(health_in_words(health) if why else health.status, style=HEALTH[health.status])


def print_table(filled: Table) -> None:
    """Print a table as wide as its content, whatever the width of the terminal."""
    wide.print(filled)
