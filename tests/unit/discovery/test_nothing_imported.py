"""Discovery reads source and imports none of it; `python -m benchmarks rules` says how long it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.trees import build_tree

FUNCTIONS = "".join(f"def f{n}(a, b=1):\n    return json.dumps({{'a': [a, b]}})\n" for n in range(20))
FLOW = '''\
"""Flow number {number}."""
import csv
from pathlib import Path

import yaml
from prefect import flow, task
from shared import m{other}

raise SystemExit("imported")


@task(retries=2)
def read(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return [row for row in csv.DictReader(file) if row.get("kind") in ("a", "b")]


@flow(name="flow-{number}", retries=1)
def etl(path: str = "data/in.csv", batch_size: int = 100, cleanup: bool = True) -> int:
    """Read, transform and write."""
    rows = read(path)
    for row in rows:
        try:
            print(float(row["value"]))
        except ValueError:
            continue
    return len(rows)
'''
DISCOVER = """
import sys
from pathlib import Path
from meta_flows.discovery import discover
flows = discover(Path(sys.argv[1]))
print(len(flows), all(flow.is_valid for flow in flows))
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_discovery_imports_nothing_of_what_it_reads_and_no_library_that_is_slow_to_import(tmp_path: Path) -> None:
    files = {f"shared/m{n}.py": f"import json\nfrom shared import m{(n + 1) % 30}\n{FUNCTIONS}" for n in range(30)}
    for number in range(60):
        files[f"flows/f{number}/workflow.py"] = FLOW.format(number=number, other=number % 30)
        files[f"flows/f{number}/deployment.yaml"] = "slug: x\n"
    build_tree(tmp_path, files)
    run = subprocess.run([sys.executable, "-c", DISCOVER, str(tmp_path)], capture_output=True, text=True, check=True)
    counted, imported = run.stdout.splitlines()
    assert counted == "60 True"
    assert not {"prefect", "shared", "yaml", "rich", "pathspec"} & {*imported.split()}
