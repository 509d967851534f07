"""A small repository of flows, on the session's server under a project of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import yaml

from meta_flows.cli import main
from tests.servers import Command, Server
from tests.trees import build_tree

FLOW = '''
from prefect import flow

@flow(name="{name}")
def {name}(count: int = 1) -> int:
    """Counts."""
    return count
'''


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Shop:
    """A repository with the flows a, b and c, and what a user can do with it.

    Attributes:
        root: Its folder.
        project: Its name in the ownership tags.
    """

    def __init__(self, root: Path, server: Server, command: Command) -> None:
        self.root, self.server, self._command = root, server, command
        self.project = f"shop-{uuid.uuid4().hex[:8]}"
        environment = {"project": self.project, "prefect_api_url": server.api_url}
        self.write("environments/defaults.yaml", environment)
        for name in ("development", "staging", "production"):
            self.write(f"environments/{name}.yaml", {})
        for name in "abc":
            self.add_flow(name)

    def add_flow(self, name: str) -> None:
        """Add a flow with a schedule and a parameter."""
        self.write(f"flows/{name}/workflow.py", FLOW.format(name=f"{self.project.replace('-', '_')}_{name}"))
        self.write(f"flows/{name}/deployment.yaml", {"schedules": [{"cron": "0 6 * * *"}], "parameters": {"count": 2}})

    def remove(self, path: str) -> None:
        """Remove a folder."""
        shutil.rmtree(self.root / path)

    def write(self, path: str, content: Any) -> None:
        """Write a file: text as it is, anything else as YAML."""
        build_tree(self.root, {path: content if isinstance(content, str) else yaml.safe_dump(content)})

    def meta_flows(self, *words: str, **shell: str) -> CompletedProcess[str]:
        """Run a command in the repository: in a process of its own where the shell says something, else in this one."""
        if shell:
            return self._command(*words, cwd=self.root, **shell)
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors), working_in(self.root):
            try:
                main(list(words))
            except SystemExit as ended:
                code = int(ended.code or 0)
        return CompletedProcess(words, code, output.getvalue(), errors.getvalue())

    def deploy(self, *words: str, **shell: str) -> dict[str, Any]:
        """Deploy, which must succeed; the JSON result."""
        done = self.meta_flows("deploy", "--json", *words, **shell)
        assert done.returncode == 0, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def live(self) -> dict[str, Any]:
        """Raw deployments of the project by name."""
        return self.server.deployments(self.project)

    def leave_unfinished(self, environment: str = "development") -> None:
        """Make the newest release look as if its deploy were still writing, or had been killed."""
        name = {"like_": f"release--{self.project}--{environment}--"}
        body = {"include_secrets": True, "block_documents": {"name": name}}
        newest = max(self.server.post("/block_documents/filter", body), key=lambda document: document["name"])
        value = json.dumps({**json.loads(newest["data"]["value"]), "state": "applying"})
        self.server.patch(f"/block_documents/{newest['id']}", {"data": {"value": value}})
