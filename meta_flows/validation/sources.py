"""Rules on the source of a flow: its signature, and the environment variables that it reads."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pydantic
from prefect import Flow
from prefect import flow as decorator

from meta_flows.configuration import ConfiguredFlow, Environment, read_env_file
from meta_flows.configuration.secrets import MASK, masked
from meta_flows.diagnostics import diagnostic, did_you_mean
from meta_flows.discovery.tree import join, parent
from meta_flows.models import Diagnostic, FlowMetadata, FlowParameter
from meta_flows.prefect_api.compat import parameter_docstrings

RESERVED = frozenset({"wait_for", "return_state"})
"""Parameters that Prefect adds to every call of a flow."""

NOT_DATA = frozenset(
    {"Callable", "Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "Awaitable", "Coroutine"}
    | {"IO", "TextIO", "BinaryIO"}
)
"""Types without a JSON representation; runs get their parameters as JSON."""

KNOWN_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (bool, bytes, dict, float, frozenset, int, list, object, set, str, tuple)},
    **{
        name: getattr(typing, name)
        for name in ("Any", "Dict", "FrozenSet", "List", "Literal", "Optional", "Set", "Tuple", "Union")
    },
}

EXAMPLES = (".env.example", ".env.sample", ".env.template")


def check_signature(flow: FlowMetadata, configured: Collection[str] = ()) -> Iterator[Diagnostic]:
    """Check a flow's decorator, parameters and docstring; no run uses the defaults of `configured` parameters."""
    checked = flow.metadata.get("validate_parameters", True)
    yield from _check_decorator(flow)
    for parameter in flow.parameters:
        facts = {"function": flow.function_name, "parameter": parameter.name}
        if parameter.name in RESERVED:
            yield diagnostic("MF115", flow.place, **facts, detail="Prefect reserves this name")
        elif parameter.name.startswith("_"):
            yield diagnostic("MF115", flow.place, **facts, detail="Prefect accepts no name that begins with '_'")
        elif parameter.required and (kind := _outermost(parameter.annotation)) in NOT_DATA:
            yield diagnostic("MF118", flow.place, **facts, annotation=kind)
        elif checked and parameter.name not in configured and not _default_fits(parameter):
            shown = masked(parameter.name, (parameter.default or "").strip("'\""))
            declared = {"annotation": parameter.annotation, "default": MASK if shown == MASK else parameter.default}
            yield diagnostic("MF116", flow.place, **facts, **declared)
    yield from _check_docstring(flow)


def _check_decorator(flow: FlowMetadata) -> Iterator[Diagnostic]:
    known = inspect.signature(decorator).parameters
    types = inspect.signature(Flow.__init__).parameters
    for name in flow.decorator_arguments:
        facts: dict[str, str] = {"function": flow.function_name, "suggestion": ""}
        if not name:
            facts["detail"] = "its arguments must be keyword arguments, as in `@flow(name=...)`"
        elif name not in known:
            facts |= {"detail": f"it has no argument '{name}'", "suggestion": did_you_mean(name, known)}
        elif name in types and name in flow.metadata and not _fits(types[name].annotation, flow.metadata[name]):
            facts["detail"] = f"'{name}' must be {types[name].annotation}, not {flow.metadata[name]!r}"
        else:
            continue
        yield diagnostic("MF113", flow.place, **facts)


def _check_docstring(flow: FlowMetadata) -> Iterator[Diagnostic]:
    if not flow.description or "description" in flow.metadata or ":" not in flow.description:
        return
    names = [parameter.name for parameter in flow.parameters]
    for described in parameter_docstrings(flow.description):
        if (name := described.lstrip("*- ")) not in names:
            facts = {"function": flow.function_name, "parameter": name, "suggestion": did_you_mean(name, names)}
            yield diagnostic("MF117", flow.place, **facts)


def _default_fits(parameter: FlowParameter) -> bool:
    """Return whether a default is of its parameter's type, as far as both are known without running anything."""
    try:
        return _fits(parameter.annotation, ast.literal_eval(parameter.default or ""), strict=False)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return True  # computed, or there is none


def _fits(annotation: str | None, value: Any, *, strict: bool = True) -> bool:
    adapter = _adapter(annotation or "")
    try:
        if adapter:
            adapter.validate_python(value, strict=strict)
    except pydantic.ValidationError:
        return False
    return True


@cache
def _adapter(annotation: str) -> pydantic.TypeAdapter[Any] | None:
    """Return the validator of an annotation; None for one that names anything but Python's own types."""
    try:
        tree = ast.parse(annotation, mode="eval")
        if isinstance(tree.body, ast.Constant) and isinstance(tree.body.value, str):
            return _adapter(tree.body.value)
        if not _is_known(tree.body):
            return None
        # Nothing but subscripts and unions of KNOWN_TYPES is left.
        return pydantic.TypeAdapter(eval(compile(tree, "", "eval"), {"__builtins__": {}}, KNOWN_TYPES))  # noqa: S307
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError, pydantic.PydanticUserError):
        return None


def _is_known(node: ast.expr) -> bool:
    match node:
        case ast.Name(name):
            return name in KNOWN_TYPES
        case ast.Constant(value):
            return value is None or value is Ellipsis
        case ast.Subscript(ast.Name("Literal"), inner):
            return all(isinstance(item, ast.Constant) for item in getattr(inner, "elts", [inner]))
        case ast.Subscript(outer, inner):
            return _is_known(outer) and all(map(_is_known, getattr(inner, "elts", [inner])))
        case ast.BinOp(left, ast.BitOr(), right):
            return _is_known(left) and _is_known(right)
    return False


def _outermost(annotation: str | None) -> str:
    """Return `Callable` for `typing.Callable[[int], str]`."""
    return (annotation or "").partition("[")[0].rpartition(".")[2].strip(" '\"")


def check_variables(item: ConfiguredFlow, environment: Environment, root: Path) -> Iterator[Diagnostic]:
    """Report variables of the example file that neither an env file nor a job variable sets.

    Raises:
        MetaFlowsError: The example file cannot be read.
    """
    folder = parent(item.flow.path)
    example = next((join(folder, name) for name in EXAMPLES if join(folder, name) in item.flow.env_files), None)
    if example is None:
        return
    envs = (options.job_variables.get("env") for options in item.configuration.kinds.values())
    known = {*item.env_file, *(key for env in envs if isinstance(env, dict) for key in env)}
    facts = {"example": example, "environment": environment.name, "file": join(folder, f".env.{environment.name}")}
    for key, _, place in read_env_file(root / example, root):
        if re.fullmatch(r"\w+", key) and key not in known:
            yield diagnostic("MF305", place, key=key, **facts)
