"""Parameter schemas as stock Prefect computes them, in a process of their own.

A schema needs the flow's imports, custom parameter types included. They do not belong into the meta-flow's process: it
may be long-lived, and two flows may each import another `helpers`. Run as a module, this is that other process: it
reads the flows as one JSON object and answers with an object a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prefect.settings import get_current_settings

from meta_flows.models import Place

TIMEOUT_SECONDS = 60.0
"""How long the import of one flow may take, Prefect's own included for the first."""


class Loaded(NamedTuple):
    """What importing a flow gave.

    Attributes:
        schema: Its parameter schema; from its source alone if it could not be imported here, None if that failed, too.
        reason: Why it could not be imported, in one line; empty if it could.
        place: Where in the repository that is, if it is there.
    """

    schema: Mapping[str, Any] | None
    reason: str = ""
    place: Place | None = None


def parameter_schemas(root: Path, flows: Mapping[str, Mapping[str, str]]) -> dict[str, Loaded]:
    """The schema of each flow, and why it cannot be imported.

    Args:
        root: The repository; flows are loaded from there.
        flows: The environment variables of each, by its entrypoint: `path/to/file.py:function`, relative to the root.
    """
    found: dict[str, Loaded] = {}
    remaining = dict(flows)
    while remaining:
        for answer in _ask(root, remaining):
            place = Place(**answer["place"]) if answer.get("place") else None
            found[answer["entrypoint"]] = Loaded(answer.get("schema"), answer.get("error", ""), place)
        remaining = {entrypoint: flows[entrypoint] for entrypoint in remaining if entrypoint not in found}
    return found


def _ask(root: Path, flows: Mapping[str, Mapping[str, str]]) -> Iterator[Mapping[str, Any]]:
    """Answers until the child ends; when it ends early, the last one is about the flow that ended it."""
    command = [sys.executable, "-m", "meta_flows.parameter_schemas"]
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    environment = {
        **os.environ,
        **settings,  # a flow may ask the server when imported
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    with subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdin is not None and child.stdout is not None  # noqa: S101  # both are pipes
        child.stdin.write(json.dumps(flows).encode())
        child.stdin.close()
        for entrypoint in flows:
            asked = time.monotonic()
            watchdog = threading.Timer(TIMEOUT_SECONDS, child.kill)
            watchdog.start()
            line = child.stdout.readline()
            watchdog.cancel()
            if line:
                yield json.loads(line)
                continue
            late = time.monotonic() - asked >= TIMEOUT_SECONDS
            reason = f"takes over {TIMEOUT_SECONDS:.0f} s" if late else f"ends Python (exit code {child.wait()})"
            yield {"entrypoint": entrypoint, "error": f"importing it {reason}"}
            return


def _answer_all() -> None:
    flows: dict[str, dict[str, str]] = json.load(sys.stdin)
    shell = dict(os.environ)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what flows print when imported is not an answer
        warnings.simplefilter("ignore")
        libraries = set(sys.modules)
        for entrypoint, variables in flows.items():
            os.environ.clear()
            os.environ.update(shell | variables)
            answers.write(json.dumps({"entrypoint": entrypoint, **_load(entrypoint)}) + "\n")
            answers.flush()
            _forget_modules_of(Path.cwd(), libraries)
    os._exit(0)  # whatever threads the flows have started


def _load(entrypoint: str) -> dict[str, Any]:
    from prefect.flows import Flow, load_flow_from_entrypoint

    reason: dict[str, Any] = {}
    for from_source in (False, True):  # as stock Prefect, which reads the source of what it cannot import
        try:
            flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=from_source)
            return {**reason, "schema": flow.parameters.model_dump(mode="json", exclude_unset=True)}
        except Exception as error:  # noqa: BLE001, PERF203  # whatever a flow's code raises is an answer
            cause = error.__cause__ or getattr(error, "user_exc", None) or error
            said = f"{type(cause).__name__}: {cause}".splitlines()[0]
            reason = reason or {"error": said, "place": _place(cause)}
    return reason


def _place(error: BaseException) -> dict[str, Any] | None:
    """The line of the repository that was running when an error was raised."""
    root = Path.cwd()
    frames = reversed(traceback.extract_tb(error.__traceback__))
    ours = (frame for frame in frames if Path(frame.filename).is_relative_to(root))
    frame = next((frame for frame in ours if "site-packages" not in frame.filename), None)
    return {"path": Path(frame.filename).relative_to(root).as_posix(), "line": frame.lineno} if frame else None


def _forget_modules_of(root: Path, libraries: set[str]) -> None:
    """Let the next flow import its own modules, while the libraries stay loaded, and are not looked at again."""
    for name in sys.modules.keys() - libraries:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(root) and "site-packages" not in file:
            del sys.modules[name]
        else:
            libraries.add(name)


if __name__ == "__main__":
    _answer_all()
