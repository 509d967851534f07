"""The flows that a syntax tree defines, told as Prefect would tell them after an import."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Iterator, Sequence
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
    """What a file tells about each of its flows.

    Args:
        path: Where the file stands.
        tree: The file, parsed.
        text: The file, decoded.
    """
    if "prefect" not in text:
        return
    lines = text.split("\n")
    # As when Python runs the file, a second definition of one name replaces the first.
    names: dict[str, str] = {}
    found = {owner + node.name: (node, decorator) for owner, node, decorator in _definitions(tree.body, names)}
    started = [*_started_on_import(path, tree, found.keys(), names)]
    for function_name, (node, decorator) in found.items():
        call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
        keywords = call.keywords
        name, error = _name(path, node, keywords, lines)
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
            is_valid=not (error or started),
            validation_errors=(*((error,) if error else ()), *started),
            decorator_arguments=("",) * len(call.args) + tuple(item.arg for item in keywords if item.arg),
            metadata=metadata,
        )


def out_of_reach(path: str, tree: ast.Module) -> Iterator[Diagnostic]:
    """The flows of a file that no deployment can name: those of functions and of instances."""
    names: dict[str, str] = {}
    reachable = {node for _, node, _ in _definitions(tree.body, names)}

    def below(node: ast.AST, where: str) -> Iterator[Diagnostic]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                called = {_qualified(getattr(item, "func", item), names) for item in child.decorator_list}
                if where and child not in reachable and not called.isdisjoint(FLOW_DECORATORS):
                    place = Location(path=path, line=child.lineno)
                    yield diagnostic("MF112", place, function=child.name, where=where)
                yield from below(child, f"inside the function '{child.name}'")
            else:
                yield from below(child, f"a method of '{child.name}'" if isinstance(child, ast.ClassDef) else where)

    yield from below(tree, "")


def _started_on_import(
    path: str, tree: ast.Module, flows: Collection[str], names: dict[str, str]
) -> Iterator[Diagnostic]:
    """Calls that run, serve or deploy a flow when the file is imported, by way of other functions of it or not.

    Args:
        path: Where the file stands.
        tree: The file, parsed.
        flows: The functions of its flows.
        names: What is bound to something importable, by qualified name.
    """
    inside = {node.name: node.body for node in tree.body if isinstance(node, Function)}
    started: dict[str, str] = {}
    """What functions of the file start, by name."""

    def start(call: ast.Call) -> str:
        function = call.func
        name = ast.unparse(function).partition("(")[0]
        root = name.partition(".")[0]
        starts = isinstance(function, ast.Attribute) and function.attr in ("serve", "deploy")
        of_flow = root in flows or names.get(root) in (*FLOW_DECORATORS, *FLOW_CLASSES)
        if name in flows or (starts and of_flow) or _qualified(function, names) in SERVING:
            return f"{name}(...)"
        return f"{name}(...), which calls {started[name]}" if name in started else ""

    calls = {name: [call for each in body for call in _calls_on_import(each)] for name, body in inside.items()}
    while found := {
        name: what
        for name, each in calls.items()
        if name not in started and (what := next(filter(None, map(start, each)), ""))
    }:
        started |= found
    for call in _calls_on_import(tree):
        if what := start(call):
            yield diagnostic("MF119", Location(path=path, line=call.lineno, column=call.col_offset + 1), call=what)


def _calls_on_import(node: ast.AST) -> Iterator[ast.Call]:
    """The calls below a node that happen when the file is imported, and not later in a function."""
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
    """The dotted module of a file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The statements directly inside a statement, block by block."""
    for field in ("body", "orelse", "finalbody"):
        if block := getattr(node, field, None):
            yield block
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


def _definitions(  # noqa: PLR0912 - a case for each kind of statement
    body: Sequence[ast.stmt], names: dict[str, str], owner: str = ""
) -> Iterator[tuple[str, Function, ast.expr]]:
    """The flows that exist once Python has imported the file, each with its class and its decorator.

    Args:
        body: Statements, in the order in which they run.
        names: What is bound to something importable so far, by qualified name; changed along the way.
        owner: The class they stand in, with a dot at its end. Only its static methods can be deployed: a run of any
            other has nothing to pass for `self` or `cls`.
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
                    # A branch may bind Prefect's `flow`; only straight-line code takes it away.
                    names |= {name: value for name, value in inner.items() if value.startswith("prefect")}


def _holds_on_import(test: ast.expr) -> bool | None:
    """Whether a condition holds when the file is imported and not run; None if that is not known."""
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


def _qualified(node: ast.expr | None, names: dict[str, str]) -> str:
    """What a name or an attribute refers to; empty if that is not known."""
    match node:
        case ast.Attribute(value, name):
            return f"{_qualified(value, names)}.{name}"
        case ast.Name(name):
            return names.get(name, name if name == "staticmethod" else "")
    return ""


def _name(
    path: str, node: Function, keywords: Sequence[ast.keyword], lines: Sequence[str]
) -> tuple[str, Diagnostic | None]:
    """The flow's name as Prefect has it; where that is not known, the function's, and why."""
    default = node.name.replace("_", "-")
    given = {keyword.arg: keyword.value for keyword in keywords}
    value = given.get("name", given.get(None))  # None is `**options`, which may hold a name
    if value is None:
        return default, None
    place = Location(path=path, line=value.lineno, column=value.col_offset + 1)
    if isinstance(value, ast.JoinedStr) and all(isinstance(part, ast.Constant) for part in value.values):
        value = ast.Constant(
            "".join(str(part.value) for part in value.values if isinstance(part, ast.Constant))
        )  # an f-string that fills nothing in
    if not isinstance(value, ast.Constant):
        expression = ("" if "name" in given else "**") + _segment(value, lines)
        return default, diagnostic("MF104", place, function=node.name, expression=expression)
    name = value.value or default
    if not isinstance(name, str):
        return str(name), diagnostic("MF105", place, name=name, detail="it is not a string")
    if (shown := printable(name)) != name or "\n" in name:
        return name, diagnostic("MF105", place, name=name, detail=f"it contains invisible characters: {shown!r}")
    if banned := sorted(BANNED_IN_NAMES.intersection(name)):
        return name, diagnostic("MF105", place, name=name, detail=f"it contains {' '.join(banned)}")
    return name, None if name == _unicode(name) else diagnostic("MF105", place, name=name, detail="it is not Unicode")


def _literals(keywords: Sequence[ast.keyword]) -> Iterator[tuple[str, Any]]:
    """The keyword arguments that are literals, as JSON has them."""
    for keyword in keywords:
        try:
            text = json.dumps(ast.literal_eval(keyword.value), allow_nan=False, ensure_ascii=False)
            if keyword.arg:
                yield keyword.arg, json.loads(text.encode())
        except (ValueError, TypeError, RecursionError, MemoryError):  # noqa: PERF203
            continue  # computed, or nothing that JSON can hold


def _parameters(arguments: ast.arguments, lines: Sequence[str]) -> Iterator[FlowParameter]:
    def parameter(argument: ast.arg, default: ast.expr | None = None, *, variadic: bool = False) -> FlowParameter:
        return FlowParameter(
            name=argument.arg,
            annotation=_segment(argument.annotation, lines) if argument.annotation else None,
            default=_segment(default, lines) if default else None,
            variadic=variadic,
        )

    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    yield from map(parameter, positional, (*[None] * required, *arguments.defaults))
    if arguments.vararg:
        yield parameter(arguments.vararg, variadic=True)
    yield from map(parameter, arguments.kwonlyargs, arguments.kw_defaults)
    if arguments.kwarg:
        yield parameter(arguments.kwarg, variadic=True)


def _segment(node: ast.expr, lines: Sequence[str]) -> str:
    """The source text of an expression; `ast.get_source_segment` would split the whole file each time."""
    part = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]  # columns count UTF-8 bytes
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = part[0][node.col_offset :]
    return b"\n".join(part).decode()


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
