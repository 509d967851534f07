"""What the commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from meta_flows.models import Diagnostic, ValidationResult, printable
from meta_flows.reporting import by_file

if TYPE_CHECKING:
    from meta_flows.prefect_api.runs import Log

UNBROKEN = 10_000
"""Width of a table that is wide, or goes into a pipe: no row is wrapped, so that `grep` and `awk` see whole rows."""


class PlainConsole(Console):
    """A console that obeys nothing in what it prints: no markup, no control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render something; what a terminal would obey is shown as an escape."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


_PLAIN: Mapping[str, Any] = {"highlight": False, "markup": False, "emoji": False}
out = PlainConsole(soft_wrap=True, **_PLAIN)
unbroken = PlainConsole(width=UNBROKEN, **_PLAIN)
err = PlainConsole(stderr=True, soft_wrap=not sys.stderr.isatty(), **_PLAIN)

SEVERITY_COLOURS = {"error": "red", "warning": "yellow"}


def print_json(content: BaseModel | Mapping[str, Any]) -> None:
    """Print one JSON document."""
    sys.stdout.write(printable(TypeAdapter(Any).dump_json(content, indent=2).decode()) + "\n")


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """List diagnostics, each with its location and code; those with the same remedy stand together above it."""
    by_remedy: dict[str, list[Diagnostic]] = {}
    for item in sorted(diagnostics, key=lambda item: (item.file_path or "", item.line_number or 0)):
        by_remedy.setdefault(item.remedy, []).append(item)
    for remedy, alike in by_remedy.items():
        for item in alike:
            location = f"{item.place}: " if item.place else ""
            colour, mark = SEVERITY_COLOURS[item.severity], "✗ " if item.severity == "error" else "! "
            err.print(Text.assemble((mark, colour), (location, "bold"), (item.code, colour), " ", item.message))
        err.print(Text(f"    remedy: {remedy}", style="dim"))


def print_findings(found: ValidationResult) -> None:
    """List what the rules of validation found, file by file."""
    for path, findings in by_file((*found.errors, *found.warnings)):
        err.print(Text(path or "not in a file", style="bold"))
        for finding in findings:
            colour = SEVERITY_COLOURS[finding.severity]
            location = ":".join(str(part) for part in (finding.line_number, finding.column_number) if part)
            err.print(
                Text.assemble(f"  {location:>7} ", (f"{finding.severity} {finding.code} ", colour), finding.message)
            )
            err.print(Text(f"          {finding.remedy}", style="dim"))


def note(text: str) -> None:
    """Print a line of less importance on stderr."""
    err.print(Text(text, style="dim"))


@contextmanager
def progress_bar(activity: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show on the terminal what is being done, and how much of it, where that is known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        line = shown.add_task(f"{activity}...", total=None, count="")

        def show(step: str, done: int, total: int) -> None:
            shown.update(
                line, description=f"{activity}: {step}", completed=done, total=total, count=f"{done} of {total}"
            )

        yield show


def print_log(console: Console, line: Log) -> None:
    """Print one line of a run's log."""
    colour = "red" if line.level >= logging.ERROR else "yellow" if line.level >= logging.WARNING else ""
    console.print(Text(f"{line.timestamp:%H:%M:%S} {line.message}", style=colour))


def print_table(columns: Sequence[str], rows: Iterable[Iterable[str | Text]], *, wide: bool = False) -> None:
    """Print a table without a frame: as wide as the terminal, or unbroken if `wide` or where stdout is no terminal.

    Columns without any content are left out. The first one, which names the row, is never broken.
    """
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    filled = [index for index in range(len(columns)) if any(row[index] for row in cells)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index in filled:
        table.add_column(columns[index], overflow="fold", no_wrap=index == 0 or columns[index] == "link")
    for row in cells:
        table.add_row(*(row[index] for index in filled))
    (unbroken if wide or not out.is_terminal else out).print(table, soft_wrap=False)
