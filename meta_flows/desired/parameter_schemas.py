"""Parameter schemas as stock Prefect computes them, in processes of their own.

Computing a schema imports the flow's module, custom parameter types included. Such modules stay out of the meta-flow's
process: it may be long-lived, and two flows may each import their own `helpers`. So an *importer*, a process that has
imported Prefect and nothing of any repository, forks a child for each request. A command that has no thread yet forks
the importer from itself, within milliseconds; a new process imports Prefect first, which takes one or two seconds.

Requests and answers are JSON objects, one per line.
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
"""How long an import may take; the first includes Prefect's own."""

LATER_SECONDS = 10.0
"""How long an import may take once one has timed out: flows that share a module time out alike."""

GRACE_SECONDS = 2.0
"""How long an import may take to stop after its timeout, before its process is killed."""

CREDENTIALS = frozenset({"PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_CLIENT_CUSTOM_HEADERS"})
"""Settings of this process that are kept from the flows: none needs them to be imported."""


class LoadedSchema(NamedTuple):
    """The result of importing a flow.

    Attributes:
        schema: Its parameter schema; read from its source if the import failed, None if that failed too.
        reason: Why the import failed, in one line; empty if it did not.
        place: The line of the repository where it failed, if any.
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
    """Run one importer for all schemas that are computed in this context.

    `fork` forks it from this process, which has imported Prefect already, unless that is unsafe: other threads may hold
    locks that a child would wait for, and the system libraries of macOS do not survive a fork.
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
    """Run an importer in a new Python process."""
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
    """Run an importer in a copy of this process."""
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
    os.setpgid(pid, pid)  # as the child does, so that the group exists before it is killed, whichever runs first
    os.close(requests_read)
    os.close(answers_write)
    try:
        with os.fdopen(requests_write, "wb") as requests, os.fdopen(answers_read, "rb") as answers:
            yield _Importer(requests, answers)
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def parameter_schemas(root: Path, flows: Mapping[str, Mapping[str, str]]) -> dict[str, LoadedSchema]:
    """Import each flow of a repository and return its parameter schema, or why there is none, by entrypoint.

    `flows` holds the environment variables of each flow. Imports time out after 60 s; once one has, after 10 s.
    """
    found: dict[str, LoadedSchema] = {}
    remaining, timeout = dict(flows), TIMEOUT_SECONDS
    with importing():
        while remaining:
            answered, timed_out = _request(root, remaining, timeout)
            found |= answered
            timeout = min(timeout, LATER_SECONDS) if timed_out else timeout
            remaining = {entrypoint: flows[entrypoint] for entrypoint in remaining if entrypoint not in found}
    return found


def _request(
    root: Path, flows: Mapping[str, Mapping[str, str]], timeout: float
) -> tuple[dict[str, LoadedSchema], bool]:
    """Have a child import flows until it ends; if it ends early, the first flow without an answer has ended it.

    Returns:
        The results by entrypoint, and whether an import timed out.
    """
    importer = _importer.get()
    assert importer is not None  # noqa: S101  # parameter_schemas runs one
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    shell = {**os.environ, **settings, "PREFECT_LOGGING_LEVEL": "ERROR"}
    request = {
        "root": str(root.resolve()),
        "shell": {name: value for name, value in shell.items() if name not in CREDENTIALS},
        "flows": flows,
        "timeout": timeout,
    }
    importer.requests.write(_line(request))
    importer.requests.flush()
    found: dict[str, LoadedSchema] = {}
    child: int | None = None
    killed = timed_out = False
    exit_code: int | None = None
    try:
        while exit_code is None:
            with _deadline(child, timeout + GRACE_SECONDS) as expired:
                answer = _read(importer.answers)
            killed, timed_out = killed or expired.is_set(), timed_out or answer.timed_out
            child, exit_code = child or answer.child, answer.ended
            if answer.entrypoint in flows:
                found[answer.entrypoint] = LoadedSchema(answer.parameters, answer.error, answer.place)
    finally:
        if child and exit_code is None:  # this process is interrupted
            _kill(child)
    if culprit := next((entrypoint for entrypoint in flows if entrypoint not in found), None):
        reason = f"ends Python (exit code {exit_code})" if exit_code else "writes to files of other code"
        found[culprit] = LoadedSchema(None, f"importing it {_too_long(timeout) if killed else reason}")
    return found, killed or timed_out


class _Answer(Model):
    """A line that an importer writes; imported code may write other lines in between."""

    child: int | None = None
    entrypoint: str = ""
    parameters: dict[str, Any] | None = None
    error: str = ""
    place: Location | None = None
    timed_out: bool = False
    ended: int | None = None


def _read(answers: IO[bytes]) -> _Answer:
    """Read one answer; return an empty one for a line that imported code wrote."""
    line = answers.readline()
    if not line:
        raise EOFError("the process that imports flows has ended")
    try:
        return _Answer.model_validate_json(line)
    except pydantic.ValidationError:
        return _Answer()


def _kill(child: int) -> None:
    """Kill a child, which leads its session, and every process that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _too_long(seconds: float) -> str:
    return f"takes over {seconds:.0f} s"


@contextmanager
def _deadline(child: int | None, seconds: float) -> Iterator[threading.Event]:
    """Kill a child that takes longer; the event is set once it is killed."""
    expired = threading.Event()
    if child is None:
        yield expired
        return

    def end() -> None:
        expired.set()
        _kill(child)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _serve(requests: int, answers: int) -> None:
    """Answer each request from a child of its own, until there are no more; never return.

    Args:
        requests: Descriptor to read requests from.
        answers: Descriptor to write answers to: the child's id, an object per flow, and the child's exit code.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # what flows print when imported is not an answer
        os.dup2(null, descriptor)
    warnings.simplefilter("ignore")
    with os.fdopen(requests, "rb") as lines, os.fdopen(answers, "wb", buffering=0) as output:
        for line in lines:
            child = os.fork()
            if child == 0:
                code: Any = 1
                try:
                    os.setsid()
                    code = _import_all(json.loads(line), output)
                except SystemExit as ended:
                    code = ended.code
                finally:
                    os._exit(code if isinstance(code, int) else 1)  # even if flows have started threads
            _, status = os.waitpid(child, 0)
            _kill(child)
            output.write(_line({"ended": os.waitstatus_to_exitcode(status)}))
    os._exit(0)


def _import_all(request: Mapping[str, Any], answers: IO[bytes]) -> int:
    """Import each flow of a request, write its answer, and return the exit code."""
    child, timeout = os.getpid(), request["timeout"]
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
            answer = _import_within(timeout, entrypoint)
            if os.getpid() != child:  # a copy that the flow's code has made
                os._exit(0)
            answers.write(_line({"entrypoint": entrypoint, **answer}))
            if "timed_out" in answer:
                timeout = min(timeout, LATER_SECONDS)
            _forget_modules_of(Path(root), libraries)
    return 0


def _line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"


class _TimedOut(BaseException):
    """An import has not ended in time; not an Exception, so that no module catches it by accident."""


def _interrupt(*_: object) -> None:
    raise _TimedOut


def _import_within(seconds: float, entrypoint: str) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return _import(entrypoint)
    except _TimedOut as error:
        return {"error": f"importing it {_too_long(seconds)}", "place": _place(error), "timed_out": True}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _import(entrypoint: str) -> dict[str, Any]:
    """Return a flow's schema or why there is none; as stock Prefect, read the source of what cannot be imported."""
    from prefect.flows import Flow, load_flow_from_entrypoint

    failure: dict[str, Any] = {}
    for from_source in (False, True):
        try:
            flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=from_source)
            return {**failure, "parameters": flow.parameters.model_dump(mode="json", exclude_unset=True)}
        except Exception as error:  # noqa: BLE001, PERF203  # whatever a flow's code raises is an answer
            cause = error.__cause__ or getattr(error, "user_exc", None) or error
            first_line = f"{type(cause).__name__}: {cause}".splitlines()[0]
            failure = failure or {"error": first_line, "place": _place(cause)}
    return failure


def _place(error: BaseException) -> dict[str, Any] | None:
    """Return the line of the repository that was running when an error was raised."""
    root = Path.cwd()
    frames = reversed(traceback.extract_tb(error.__traceback__))
    ours = (frame for frame in frames if Path(frame.filename).is_relative_to(root))
    frame = next((frame for frame in ours if "site-packages" not in frame.filename), None)
    return {"path": Path(frame.filename).relative_to(root).as_posix(), "line": frame.lineno} if frame else None


def _forget_modules_of(root: Path, libraries: set[str]) -> None:
    """Unload the repository's modules, so that the next flow imports its own; add all other modules to `libraries`."""
    for name in sys.modules.keys() - libraries:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(root) and "site-packages" not in file:
            del sys.modules[name]
        else:
            libraries.add(name)


if __name__ == "__main__":
    _serve(os.dup(0), os.dup(1))
