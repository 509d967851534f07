"""The flows that a syntax tree defines, described as Prefect would describe them after an import."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic, FlowMetadata, FlowParameter, Location, printable

Function = ast.FunctionDef | ast.AsyncFunctionDef

FLOW_DECORATORS = frozenset({"prefect.flow", "prefect.flows.flow", "prefect.main.flow"})
FLOW_CLASSES = frozenset({"prefect.Flow", "prefect.flows.Flow"})
SERVING = frozenset(
    f"{module}.{name}"
    for module in ("prefect", "prefect.flows", "prefect.main", "prefect.deployments", "prefect.deployments.runner")
    for name in ("serve", "deploy")
)
BANNED_IN_NAMES = frozenset("/%&><")


def flows(path: str, tree: ast.Module, text: str) -> Iterator[FlowMetadata]:
    """Yield the metadata of each flow of a parsed file, as far as this file has it."""
    if "prefect" not in text:
        return
    lines = text.split("\n")
    # As in Python, a second definition of a name replaces the first.
    names: dict[str, str] = {}
    found = {owner + node.name: (node, decorator) for owner, node, decorator in _definitions(tree.body, names)}
    started = [*_started_on_import(path, tree, found.keys(), names)]
    for function_name, (node, decorator) in found.items():
        arguments, keywords = (decorator.args, decorator.keywords) if isinstance(decorator, ast.Call) else ([], [])
        name, error = _name(path, node, keywords, lines)
        errors = (error, *started) if error else (*started,)
        metadata = dict(_literals(keywords))
        description = metadata.get("description") or ast.get_docstring(node)
        yield FlowMetadata(
            name=_unicode(name),
            path=path,
            module_path=module_path(path),
            function_name=function_name,
            line=node.lineno,
            description=_unicode(description) if isinstance(description, str) else None,
            parameters=tuple(_parameters(node.args, lines)),
            is_valid=not errors,
            validation_errors=errors,
            decorator_arguments=("",) * len(arguments) + tuple(item.arg for item in keywords if item.arg),
            metadata=metadata,
        )


def unreachable(path: str, tree: ast.Module) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each flow that no deployment can name: those inside functions, and methods."""
    names: dict[str, str] = {}
    reachable = {node for _, node, _ in _definitions(tree.body, names)}

    def below(node: ast.AST, where: str) -> Iterator[Diagnostic]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                decorators = {_qualified(getattr(item, "func", item), names) for item in child.decorator_list}
                if where and child not in reachable and not decorators.isdisjoint(FLOW_DECORATORS):
                    place = Location(path=path, line=child.lineno)
                    yield diagnostic("MF112", place, function=child.name, where=where)
                yield from below(child, f"inside the function '{child.name}'")
            else:
                yield from below(child, f"a method of '{child.name}'" if isinstance(child, ast.ClassDef) else where)

    yield from below(tree, "")


def _started_on_import(
    path: str, tree: ast.Module, flows: Collection[str], names: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """Yield an error for each call that runs, serves or deploys a flow on import, directly or through a function.

    `flows` are the functions that are flows, `names` the qualified names of what the file's names refer to.
    """
    functions = (node for node in tree.body if isinstance(node, Function))
    calls = {node.name: [call for part in node.body for call in _calls_on_import(part)] for node in functions}
    starting_functions: dict[str, str] = {}  # each with the call that starts a flow

    def start(call: ast.Call) -> str:
        function = call.func
        name = ast.unparse(function).partition("(")[0]
        root = name.partition(".")[0]
        is_serving = isinstance(function, ast.Attribute) and function.attr in ("serve", "deploy")
        is_flow = root in flows or names.get(root) in (*FLOW_DECORATORS, *FLOW_CLASSES)
        if name in flows or (is_serving and is_flow) or _qualified(function, names) in SERVING:
            return f"{name}(...)"
        return f"{name}(...), which calls {starting_functions[name]}" if name in starting_functions else ""

    while found := {
        name: started
        for name, inner in calls.items()
        if name not in starting_functions and (started := next(filter(None, map(start, inner)), ""))
    }:
        starting_functions |= found
    for call in _calls_on_import(tree):
        if started := start(call):
            yield diagnostic("MF119", Location(path=path, line=call.lineno, column=call.col_offset + 1), call=started)


def _calls_on_import(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls below a node that run when the file is imported, not later in a function."""
    unreached: Sequence[ast.AST] = ()
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            return
        case ast.If() | ast.IfExp():
            branches: dict[bool | None, Any] = {False: node.body, True: node.orelse, None: []}
            branch = branches[_holds_on_import(node.test)]
            unreached = branch if isinstance(branch, list) else [branch]
        case ast.BoolOp(ast.And(), values):
            reached = [_holds_on_import(value) is not False for value in values]
            unreached = values[reached.index(False) :] if False in reached else ()
        case ast.Call():
            yield node
    for child in ast.iter_child_nodes(node):
        if child not in unreached:
            yield from _calls_on_import(child)


def module_path(path: str) -> str:
    """Return the dotted module of a file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield each block of statements directly inside a statement."""
    for field in ("body", "orelse", "finalbody"):
        if block := getattr(node, field, None):
            yield block
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


def _definitions(  # noqa: PLR0912 - a case for each kind of statement
    body: Sequence[ast.stmt], names: dict[str, str], owner: str = ""
) -> Iterator[tuple[str, Function, ast.expr]]:
    """Yield the flows that exist after an import of the file, each with its class and its decorator.

    `names` are the qualified names of what the file's names refer to; each statement updates them. `owner` is the
    class of the statements, with a dot at its end. Only its static methods can be deployed: a run has nothing to pass
    for `self` or `cls`.
    """
    for node in body:
        match node:
            case ast.Import(aliases):
                for alias in aliases:
                    head = alias.name.partition(".")[0]
                    names[alias.asname or head] = alias.name if alias.asname else head
            case ast.ImportFrom(module, aliases, level):
                for alias in aliases:
                    name = alias.name
                    if name == "*" and f"{module}.flow" in FLOW_DECORATORS:
                        name = "flow"
                    names[alias.asname or name] = f"{'.' * level}{module}.{name}"
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                decorators = {
                    _qualified(item.func if isinstance(item, ast.Call) else item, names): item
                    for item in node.decorator_list
                }
                flow = next((item for known, item in decorators.items() if known in FLOW_DECORATORS), None)
                if flow and (not owner or "staticmethod" in decorators):
                    yield owner, node, flow
                names.pop(name, None)
            case ast.ClassDef(name):
                yield from _definitions(node.body, dict(names), f"{owner}{name}.")
                names.pop(name, None)
            case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), value=value):
                names[name] = _qualified(value, names)
            case _:
                for block in blocks(node):
                    if isinstance(node, ast.If) and _holds_on_import(node.test) is (block is not node.body):
                        continue
                    inner = dict(names)
                    yield from _definitions(block, inner, owner)
                    # A branch may bind Prefect's `flow`; only straight-line code unbinds it.
                    names |= {name: value for name, value in inner.items() if value.startswith("prefect")}


def _holds_on_import(test: ast.expr) -> bool | None:
    """Return whether a condition holds when the file is imported and not run; None if unknown."""
    match test:
        case ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return False
        case ast.UnaryOp(ast.Not(), operand):
            inner = _holds_on_import(operand)
            return None if inner is None else not inner
        case ast.BoolOp(ast.And(), values):
            return False if False in map(_holds_on_import, values) else None
        case ast.Compare(ast.Name("__name__"), [operator], [ast.Constant() | ast.Tuple() | ast.List() | ast.Set()]) | (
            ast.Compare(ast.Constant("__main__"), [operator], [ast.Name("__name__")])
        ):
            return {ast.Eq: False, ast.In: False, ast.NotEq: True, ast.NotIn: True}.get(type(operator))
    return None


def _qualified(node: ast.expr | None, names: Mapping[str, str]) -> str:
    """Return the qualified name of the object that a name or an attribute refers to; empty if unknown."""
    match node:
        case ast.Attribute(value, name):
            return f"{_qualified(value, names)}.{name}"
        case ast.Name(name):
            return names.get(name, name if name == "staticmethod" else "")
    return ""


def _name(
    path: str, node: Function, keywords: Sequence[ast.keyword], lines: Sequence[str]
) -> tuple[str, Diagnostic | None]:
    """Return the flow's name in Prefect, or a substitute and the error that makes it unusable."""
    default = node.name.replace("_", "-")
    given = {keyword.arg: keyword.value for keyword in keywords}
    value = given.get("name", given.get(None))  # None is `**options`, which may hold a name
    if value is None:
        return default, None
    place = Location(path=path, line=value.lineno, column=value.col_offset + 1)
    if isinstance(value, ast.JoinedStr) and all(isinstance(part, ast.Constant) for part in value.values):
        # an f-string without placeholders
        value = ast.Constant("".join(str(part.value) for part in value.values if isinstance(part, ast.Constant)))
    if not isinstance(value, ast.Constant):
        expression = ("" if "name" in given else "**") + _segment(value, lines)
        return default, diagnostic("MF104", place, function=node.name, expression=expression)
    name = value.value or default
    problem = _problem_of_name(name)
    return str(name), diagnostic("MF105", place, name=name, detail=problem) if problem else None


def _problem_of_name(name: object) -> str:
    if not isinstance(name, str):
        return "it is not a string"
    if (shown := printable(name)) != name or "\n" in name:
        return f"it contains invisible characters: {shown!r}"
    if banned := sorted(BANNED_IN_NAMES.intersection(name)):
        return f"it contains {' '.join(banned)}"
    return "" if name == _unicode(name) else "it is not Unicode"


def _literals(keywords: Sequence[ast.keyword]) -> Iterator[tuple[str, Any]]:
    """Yield the keyword arguments that are JSON-compatible literals."""
    for keyword in keywords:
        try:
            text = json.dumps(ast.literal_eval(keyword.value), allow_nan=False, ensure_ascii=False)
            if keyword.arg:
                yield keyword.arg, json.loads(text.encode())
        except (ValueError, TypeError, RecursionError, MemoryError):  # noqa: PERF203
            continue  # computed, or not JSON-compatible


def _parameters(arguments: ast.arguments, lines: Sequence[str]) -> Iterator[FlowParameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    with_defaults: list[tuple[ast.arg | None, ast.expr | None]] = [
        *zip(positional, [*[None] * required, *arguments.defaults], strict=True),
        (arguments.vararg, None),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        (arguments.kwarg, None),
    ]
    for argument, default in with_defaults:
        if argument:
            yield FlowParameter(
                name=argument.arg,
                annotation=_segment(argument.annotation, lines) if argument.annotation else None,
                default=_segment(default, lines) if default else None,
                variadic=argument in (arguments.vararg, arguments.kwarg),
            )


def _segment(node: ast.expr, lines: Sequence[str]) -> str:
    """Return the source text of an expression; `ast.get_source_segment` would split the whole file at each call."""
    part = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]  # columns count UTF-8 bytes
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = part[0][node.col_offset :]
    return b"\n".join(part).decode()


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
