"""What it costs to deploy many flows, with stock Prefect and with meta-flows: `make bench` and `make bench-chart`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Literal, get_args

from cyclopts import App
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Measurement, Phase, Result, benchmark
from benchmarks.repository import write_repository
from benchmarks.server import Database
from meta_flows.configuration import Selection
from meta_flows.validation.pipeline import validate_offline

RESULTS = Path(__file__).parent / "results"

app = App(name="benchmarks", help=__doc__)
console = Console(width=130, highlight=False)


@app.command
def run(*flows: int, database: Literal["sqlite", "postgresql", "both"] = "sqlite", repeat: int = 1) -> None:
    """Measure both tools, print the medians, and keep everything in benchmarks/results/.

    Args:
        flows: How many flows; several numbers for a chart.
        database: What the server keeps its data in.
        repeat: How often to measure all of it.
    """
    databases: tuple[Database, ...] = get_args(Database) if database == "both" else (database,)
    for chosen in databases:
        for count in flows or (100,):
            with console.status(f"{count} flows on {chosen}..."):
                result = benchmark(count, chosen, repeat)
            RESULTS.mkdir(exist_ok=True)
            file = RESULTS / f"{chosen}-{count:04}.json"
            file.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
            console.print(table(result))


@app.command
def rules(flows: int = 300) -> None:
    """Measure how long all validation takes that needs no server, past the start of Python and Prefect.

    Args:
        flows: How many flows.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder) / "rules"
        write_repository(root, flows)
        started = perf_counter()
        found, checked = validate_offline(root, "development", Selection(), import_flows=False)
        console.print(f"{perf_counter() - started:.2f} s, {len(found.errors)} errors; {checked}")


@app.command
def chart(output: Path = Path("docs/images/benchmark.png")) -> None:
    """Draw what was measured.

    Args:
        output: The picture to write.
    """
    from benchmarks.chart import draw

    draw([Result.model_validate_json(file.read_text()) for file in sorted(RESULTS.glob("*.json"))], output)


def table(result: Result) -> Table:
    """Both tools beside each other, and how many times as much stock Prefect takes."""
    shown = Table(
        title=f"{result.flows} flows, {result.database}, Prefect {result.prefect}, {result.cores} cores",
        title_justify="left",
        box=None,
    )
    for column in ("deploy", "", "stock", "meta-flows", "ratio"):
        shown.add_column(column, justify="left" if column in ("deploy", "") else "right")
    for phase in get_args(Phase):
        stock, ours = result.of("stock", phase), result.of("meta-flows", phase)
        for what, cost in COSTS.items():
            theirs, here = median(map(cost, stock)), median(map(cost, ours))
            shown.add_row(phase, what, f"{theirs:,.4g}", f"{here:,.4g}", f"{theirs / here:.1f}x")
        for what, text in TEXTS.items():
            shown.add_row("", what, text(stock[-1]), text(ours[-1]), "")
        if phase == "cold" and result.floors:
            floor, ours_alone = (
                median(getattr(item, name) for item in result.floors) for name in ("seconds", "apply_seconds")
            )
            shown.add_row(
                "",
                "writing alone, against the floor",
                f"{floor:,.4g}",
                f"{ours_alone:,.4g}",
                f"{ours_alone / floor:.2f}x",
            )
    return shown


def _by_method(item: Measurement) -> str:
    return ", ".join(f"{method} {count}" for method, count in item.requests.items())


def _lost(item: Measurement) -> str:
    return f"{item.lost_runs} of {item.scheduled_runs}"


COSTS: dict[str, Callable[[Measurement], float]] = {
    "seconds": lambda item: item.seconds,
    "client CPU seconds": lambda item: item.cpu_seconds,
    "HTTP requests": lambda item: item.request_count,
}
TEXTS = {"  of them": _by_method, "scheduled runs lost": _lost}

if __name__ == "__main__":
    app()
