"""Deployed flows, picked up by a real process worker."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from tests.shops import Shop
from tests.workers import development_worker

WRITER = """
import os
from pathlib import Path
from prefect import flow
from flows.shared import greeting

@flow(name="{name}")
def {name}(word: str = "x") -> None:
    print("writing", word)
    Path("output").mkdir(exist_ok=True)
    Path("output/{name}.txt").write_text(greeting(word) + os.environ.get("REGION", "nowhere"))
"""


def worker(shop: Shop, folder: Path, python: str = sys.executable) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker of the shop's own pool, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    return development_worker(shop.root, shop.project, shop.server, folder, python=python)


def test_a_deployed_flow_completes_on_a_worker_wherever_that_stands(shop: Shop, tmp_path: Path) -> None:
    """Relative imports and outputs are the repository's; values of the env file reach the run."""
    name = f"{shop.project.replace('-', '_')}_writer"
    shop.write("environments/development.yaml", {"work_pools": {"python": shop.project}})
    shop.write("flows/writer/workflow.py", WRITER.format(name=name))
    shop.write("flows/shared.py", "def greeting(word: str) -> str:\n    return f'hello {word} from '\n")
    shop.write("flows/writer/.env.development", "REGION=north\n")
    shop.deploy("--flow", "writer")
    with worker(shop, tmp_path / "elsewhere"):
        done = shop.meta_flows("run", "writer", "--parameter", "word=world", "--json", "--timeout", "120")
        assert done.returncode == 0, done.stdout + done.stderr
        ended = json.loads(done.stdout)
        assert ended["state"] == "Completed"
        assert "Finished in state Completed()" in ended["logs"]
    assert (shop.root / f"output/{name}.txt").read_text() == "hello world from north"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["worker.log"]


def test_a_git_source_runs_the_pinned_commit_and_moves_only_with_the_code(shop: Shop, tmp_path: Path) -> None:
    """An unrelated commit changes nothing; an uncommitted change is refused."""

    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        return subprocess.run(
            ["git", *identity, *words], cwd=shop.root, check=True, capture_output=True, text=True
        ).stdout

    name = f"{shop.project.replace('-', '_')}_writer"
    shop.write(
        "environments/development.yaml",
        {"work_pools": {"python": shop.project}, "source": {"type": "git", "repository": str(shop.root)}},
    )
    shop.write(
        "flows/writer/workflow.py",
        WRITER.format(name=name)
        .replace('Path("output")', f'Path("{tmp_path}/out")')
        .replace('"output/', f'"{tmp_path}/out/'),
    )
    shop.write("flows/shared.py", "def greeting(word: str) -> str:\n    return f'committed {word} '\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    first = git("rev-parse", "HEAD").strip()
    shop.deploy("--flow", "writer")
    step = shop.live()["writer-python-dev"]["pull_steps"][0]["prefect.deployments.steps.git_clone"]
    assert step["commit_sha"] == first

    shop.write("README.md", "unrelated")
    git("add", ".")
    git("commit", "--quiet", "-m", "second")
    assert shop.deploy("--flow", "writer")["state"] == "InSync"

    shop.write("flows/shared.py", "def greeting(word: str) -> str:\n    return 'changed, not committed'\n")
    refused = shop.meta_flows("deploy", "--flow", "writer", "--json")
    assert refused.returncode == 1
    (error,) = json.loads(refused.stdout)["refused"]
    assert error["code"] == "MF505"
    assert "flows/shared.py" in error["message"]

    git("checkout", "--quiet", "--", "flows/shared.py")
    shop.write("flows/writer/rules.txt", "a file that the code reads, not committed")
    refused = shop.meta_flows("deploy", "--flow", "writer", "--json")
    assert "flows/writer/rules.txt" in json.loads(refused.stdout)["refused"][0]["message"]
    (shop.root / "flows/writer/rules.txt").unlink()

    source = {"type": "git", "repository": str(shop.root), "branch": "release"}
    shop.write("environments/staging.yaml", {"work_pools": {"python": shop.project}, "source": source})
    refused = shop.meta_flows("deploy", "-e", "staging", "--flow", "writer", "--json")
    assert [error["message"] for error in json.loads(refused.stdout)["refused"]] == [
        "no commit of the git source can be pinned: "
        f"branch release does not contain commit {git('rev-parse', 'HEAD')[:12]}"
    ]
    git("branch", "release")
    shop.deploy("-e", "staging", "--flow", "writer")

    with worker(shop, tmp_path / "elsewhere"):
        done = shop.meta_flows("run", "writer", "-e", "staging", "--timeout", "120")
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / f"out/{name}.txt").read_text() == "committed x nowhere"


def test_a_run_that_nobody_picks_up_says_why_and_how_to_mend_it(shop: Shop) -> None:
    shop.write("environments/development.yaml", {"work_pools": {"python": shop.project}})
    shop.deploy("--flow", "a")
    done = shop.meta_flows("run", "a", "--timeout", "2")
    assert done.returncode == 1
    assert "MF507" in done.stderr
    assert f"no worker polls work pool {shop.project}" in done.stderr


def test_running_what_is_not_deployed_names_the_remedy(shop: Shop) -> None:
    done = shop.meta_flows("run", "nothing")
    assert done.returncode == 1
    assert "MF506" in done.stderr
    assert "nothing-python-dev" in done.stderr
