"""Parameter schemas as stock Prefect computes them, in processes of their own.

A schema needs the flow's imports, custom parameter types included. They do not belong into the meta-flow's process: it
may be long-lived, and two flows may each import another `helpers`. So an *importer*, a process that has imported
Prefect and nothing of any repository, forks a child for each request. Where a command forks the importer from itself,
before it has any thread, that takes milliseconds; started anew, it imports Prefect first, which takes a second or two.

Requests and answers are one JSON object a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, NamedTuple

import pydantic
from prefect.settings import get_current_settings

from meta_flows.models import Location, Model
from meta_flows.prefect_api.compat import settings_of_shell

TIMEOUT_SECONDS = 60.0
"""How long an import may take, Prefect's own included for the first."""

LATER_SECONDS = 10.0
"""How long any other import may take once one has hung: those that share a module hang alike."""

GRACE_SECONDS = 2.0
"""How long an import that is to end may take to do so, before its process is killed."""

CREDENTIALS = frozenset({"PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_CLIENT_CUSTOM_HEADERS"})
"""Settings of ours that no flow needs in order to be imported."""


class Loaded(NamedTuple):
    """What importing a flow gave.

    Attributes:
        schema: Its parameter schema; from its source alone if it could not be imported here, None if that failed, too.
        reason: Why it could not be imported, in one line; empty if it could.
        place: Where in the repository that is, if it is there.
    """

    schema: Mapping[str, Any] | None
    reason: str = ""
    place: Location | None = None


class _Importer(NamedTuple):
    requests: IO[bytes]
    answers: IO[bytes]


_importer: ContextVar[_Importer | None] = ContextVar("importer", default=None)


@contextmanager
def importing(*, fork: bool = False) -> Iterator[None]:
    """Keep one importer at hand for all schemas that are computed in this context.

    Args:
        fork: Fork it from this process, which has imported Prefect already. Without effect if that is not safe: other
            threads may hold locks that a child would wait for, and macOS' own libraries do not survive a fork.
    """
    if _importer.get() or (fork and (threading.active_count() > 1 or sys.platform in ("darwin", "win32"))):
        yield
        return
    with _forked() if fork else _started() as importer:
        token = _importer.set(importer)
        try:
            yield
        finally:
            _importer.reset(token)


@contextmanager
def _started() -> Iterator[_Importer]:
    """An importer that begins as a new Python."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "meta_flows.desired.parameter_schemas"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101  # both are pipes
        try:
            yield _Importer(process.stdin, process.stdout)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _forked() -> Iterator[_Importer]:
    """An importer that begins as a copy of this process."""
    (requests_read, requests_write), (answers_read, answers_write) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            os.close(requests_write)
            os.close(answers_read)
            _serve(requests_read, answers_write)
        finally:
            os._exit(1)
    os.setpgid(pid, pid)  # as the child does: whichever comes first, the group is there before it is killed
    os.close(requests_read)
    os.close(answers_write)
    try:
        with os.fdopen(requests_write, "wb") as requests, os.fdopen(answers_read, "rb") as answers:
            yield _Importer(requests, answers)
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def parameter_schemas(root: Path, flows: Mapping[str, Mapping[str, str]]) -> dict[str, Loaded]:
    """Compute the schema of each flow; a flow that cannot be imported gets the reason.

    The first import that hangs is given a minute, all later ones ten seconds.

    Args:
        root: The repository; flows are loaded from there.
        flows: The environment variables of each, by its entrypoint: `path/to/file.py:function`, relative to the root.
    """
    found: dict[str, Loaded] = {}
    remaining, patience = dict(flows), TIMEOUT_SECONDS
    with importing():
        while remaining:
            answered, hung = _ask(root, remaining, patience)
            found |= answered
            patience = min(patience, LATER_SECONDS) if hung else patience
            remaining = {entrypoint: flows[entrypoint] for entrypoint in remaining if entrypoint not in found}
    return found


def _ask(root: Path, flows: Mapping[str, Mapping[str, str]], patience: float) -> tuple[dict[str, Loaded], bool]:
    """Have a child import flows until it ends; when it ends early, the first without an answer is what ended it.

    Returns:
        What it found, and whether an import hung.
    """
    importer = _importer.get()
    assert importer is not None  # noqa: S101  # our only caller keeps one at hand
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    shell = {**os.environ, **settings, "PREFECT_LOGGING_LEVEL": "ERROR"}
    request = {
        "root": str(root.resolve()),
        "shell": {name: value for name, value in shell.items() if name not in CREDENTIALS},
        "flows": flows,
        "patience": patience,
    }
    importer.requests.write(json.dumps(request).encode() + b"\n")
    importer.requests.flush()
    found: dict[str, Loaded] = {}
    child: int | None = None
    late = hung = False
    ended: int | None = None
    try:
        while ended is None:
            with _deadline(child, patience + GRACE_SECONDS) as expired:
                answer = _read(importer.answers)
            late, hung = late or expired.is_set(), hung or answer.hung
            child, ended = child or answer.child, answer.ended
            if answer.entrypoint in flows:
                found[answer.entrypoint] = Loaded(answer.parameters, answer.error, answer.place)
    finally:
        if child and ended is None:  # we are interrupted
            _kill(child)
    if culprit := next((entrypoint for entrypoint in flows if entrypoint not in found), None):
        reason = f"ends Python (exit code {ended})" if ended else "writes where it has no business"
        found[culprit] = Loaded(None, f"importing it {_too_long(patience) if late else reason}")
    return found, late or hung


class _Answer(Model):
    """A line that an importer writes; what it imports may write others."""

    child: int | None = None
    entrypoint: str = ""
    parameters: dict[str, Any] | None = None
    error: str = ""
    place: Location | None = None
    hung: bool = False
    ended: int | None = None


def _read(answers: IO[bytes]) -> _Answer:
    """Read one answer; an empty one where code that was imported wrote in between."""
    line = answers.readline()
    if not line:
        raise EOFError("the process that imports flows has ended")
    try:
        return _Answer.model_validate_json(line)
    except pydantic.ValidationError:
        return _Answer()


def _kill(child: int) -> None:
    """End a child, which leads its session, and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _too_long(seconds: float) -> str:
    return f"takes over {seconds:.0f} s"


@contextmanager
def _deadline(child: int | None, seconds: float) -> Iterator[threading.Event]:
    """End a process that takes too long; whether it did."""
    late = threading.Event()

    def end() -> None:
        late.set()
        if child:
            _kill(child)

    timer = threading.Timer(seconds, end)
    if child:
        timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _serve(requests: int, answers: int) -> None:
    """Answer each request by a child of its own, until there are no more; does not return.

    Args:
        requests: Descriptor to read them from.
        answers: Descriptor to write answers to: the child's id, an object for each flow, and how the child ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # what flows print when imported is not an answer
        os.dup2(nowhere, descriptor)
    warnings.simplefilter("ignore")
    with os.fdopen(requests, "rb") as asked, os.fdopen(answers, "wb", buffering=0) as answered:
        for line in asked:
            child = os.fork()
            if child == 0:
                code: Any = 1
                try:
                    os.setsid()
                    code = _answer_all(json.loads(line), answered)
                except SystemExit as ended:
                    code = ended.code
                finally:
                    os._exit(code if isinstance(code, int) else 1)  # whatever threads the flows have started
            _, status = os.waitpid(child, 0)
            _kill(child)
            answered.write(_line({"ended": os.waitstatus_to_exitcode(status)}))
    os._exit(0)


def _answer_all(request: Mapping[str, Any], answers: IO[bytes]) -> int:
    """Import each flow of a request and write its answer; the exit code."""
    child, patience = os.getpid(), request["patience"]
    answers.write(_line({"child": child}))
    root, shell, libraries = request["root"], request["shell"], set(sys.modules)
    signal.signal(signal.SIGALRM, _interrupt)
    os.chdir(root)
    sys.path.insert(0, root)
    os.environ.clear()
    os.environ.update(shell)
    with settings_of_shell():
        for entrypoint, variables in request["flows"].items():
            os.environ.clear()
            os.environ.update(shell | variables)
            loaded = _load(entrypoint, patience)
            if os.getpid() != child:  # a copy that the flow's code has made
                os._exit(0)
            answers.write(_line({"entrypoint": entrypoint, **loaded}))
            if "hung" in loaded:
                patience = min(patience, LATER_SECONDS)
            _forget_modules_of(Path(root), libraries)
    return 0


def _line(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


class _TakesTooLong(BaseException):
    """An import has not ended in time; no module catches it by accident."""


def _interrupt(*_: object) -> None:
    raise _TakesTooLong


def _load(entrypoint: str, patience: float) -> dict[str, Any]:
    """Import a flow within so many seconds; its schema, or why there is none."""
    signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        return _loaded(entrypoint)
    except _TakesTooLong as error:
        return {"error": f"importing it {_too_long(patience)}", "place": _place(error), "hung": True}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _loaded(entrypoint: str) -> dict[str, Any]:
    from prefect.flows import Flow, load_flow_from_entrypoint

    reason: dict[str, Any] = {}
    for from_source in (False, True):  # as stock Prefect, which reads the source of what it cannot import
        try:
            flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=from_source)
            return {**reason, "parameters": flow.parameters.model_dump(mode="json", exclude_unset=True)}
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
    _serve(os.dup(0), os.dup(1))
