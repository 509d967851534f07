"""The picture for the README: cost against the number of flows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl

from benchmarks.measuring import Phase, Result, Tool

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend is chosen before it is loaded

COLOURS: dict[Tool, str] = {"stock": "#b0413e", "meta-flows": "#2f6db5"}
NAMES: dict[Tool, str] = {"stock": "prefect deploy --all", "meta-flows": "meta-flows deploy"}
LINES: dict[Phase, str] = {"unchanged": "-", "cold": "--"}
PHASES: dict[Phase, str] = {"unchanged": "nothing changed", "cold": "all new"}


def draw(results: Sequence[Result], output: Path) -> None:
    """Draw seconds and HTTP requests against the number of flows, a row for each database.

    Args:
        results: What was measured.
        output: The picture to write.
    """
    databases = sorted({result.database for result in results}, reverse=True)
    figure, rows = plt.subplots(len(databases), 2, figsize=(10, 4 * len(databases)), squeeze=False)
    for row, database in zip(rows, databases, strict=True):
        of_database = sorted((item for item in results if item.database == database), key=lambda item: item.flows)
        for axes, cost, title in (
            (row[0], lambda item: item.seconds, "seconds a deploy takes"),
            (row[1], lambda item: item.request_count, "HTTP requests it makes"),
        ):
            for tool, colour in COLOURS.items():
                for phase, line in LINES.items():
                    costs = [median(map(cost, item.of(tool, phase))) for item in of_database]
                    label = f"{NAMES[tool]}, {PHASES[phase]}"
                    axes.plot(
                        [item.flows for item in of_database],
                        costs,
                        line,
                        marker="o",
                        markersize=4,
                        color=colour,
                        label=label,
                    )
            axes.set(title=f"{title} ({database})", xlabel="deployments", ylim=0)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
    rows[0][0].legend(frameon=False)
    figure.tight_layout()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
