"""Parsing one Python file: its imports and its flows, or the error that prevents it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from importlib.util import decode_source
from typing import NamedTuple

from meta_flows.diagnostics import diagnostic
from meta_flows.discovery.definitions import blocks, flows, module_path, unreachable
from meta_flows.models import Diagnostic, FlowMetadata, Location


class Import(NamedTuple):
    """One import: `from ..a.b import c` is `Import(2, "a.b", ("c",))`, `import a.b` is `Import(0, "a.b")`.

    Attributes:
        optional: Whether the module works without it, e.g. because it is in a `try` or for type checkers only.
    """

    level: int
    module: str
    names: tuple[str, ...] = ()
    line: int | None = None
    optional: bool = False

    @property
    def head(self) -> str:
        """Return the top-level name of an absolute import; empty for a relative one."""
        return "" if self.level else self.module.partition(".")[0]


class Source(NamedTuple):
    """One file, parsed.

    Attributes:
        heads: Top-level names of its absolute imports.
        flows: Metadata of each flow, as far as this file has it; one invalid entry if it cannot be parsed.
        error: Why it cannot be parsed.
    """

    imports: tuple[Import, ...] = ()
    heads: frozenset[str] = frozenset()
    flows: tuple[FlowMetadata, ...] = ()
    error: Diagnostic | None = None


def parse(path: str, content: bytes) -> Source:
    """Parse one file; never raise an error, whatever the content."""
    try:
        text = _decode(content)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        place = Location(path=path, line=line, column=column)
        return unparsed("MF102", place, f"not {error.encoding}: {error.reason}")
    except (SyntaxError, LookupError, ValueError) as error:
        return unparsed("MF102", Location(path=path), str(error))
    try:
        tree = ast.parse(text, path)
        imports = tuple(dict.fromkeys(_imports(path, tree, text)))
        return Source(imports, frozenset(item.head for item in imports), tuple(flows(path, tree, text)))
    except SyntaxError as error:
        place = Location(path=path, line=error.lineno or None, column=error.offset or None)
        return unparsed("MF101", place, error.msg)
    except (RecursionError, MemoryError):
        return unparsed("MF101", Location(path=path), "nested too deeply for Python to parse")


def unreachable_flows(path: str, content: bytes) -> tuple[Diagnostic, ...]:
    """Return a diagnostic for each flow that no deployment can name; parse only files that may have one."""
    if not re.search(rb"^[ \t]+@.*flow", content, re.MULTILINE):
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tuple(unreachable(path, ast.parse(_decode(content))))
        except (SyntaxError, LookupError, ValueError, RecursionError, MemoryError):
            return ()  # `parse` reports it


def _decode(content: bytes) -> str:
    """Decode a file as Python does: by byte order mark or declared encoding, else UTF-8."""
    try:
        text = decode_source(content)
    except SyntaxError:
        content.decode()  # unlike the tokenizer, its error has the position
        raise
    if "\0" in text:
        raise ValueError("it contains null bytes")
    text.encode()  # rejects the lone surrogates that some codecs produce, as the parser does
    return text


def unparsed(code: str, place: Location, detail: str) -> Source:
    """Return the source of a file that cannot be read or parsed: one invalid flow with the error."""
    error = diagnostic(code, place, detail=detail, path=place.path)
    entry = FlowMetadata(
        name=place.path,
        path=place.path,
        module_path=module_path(place.path),
        function_name="",
        line=place.line or 1,
        is_valid=False,
        validation_errors=(error,),
    )
    return Source(flows=(entry,), error=error)


def _imports(path: str, tree: ast.Module, text: str) -> Iterator[Import]:
    """Yield all imports at any depth of the statements; expressions can only import by a call."""
    is_package = path.endswith("__init__.py")
    todo: list[tuple[ast.stmt, bool]] = [(node, False) for node in tree.body]
    while todo:
        match todo.pop():
            case ast.Import(names) as node, optional:
                yield from (Import(0, alias.name, (), node.lineno, optional) for alias in names)
            case ast.ImportFrom(module, names, level) as node, optional:
                yield Import(level, module or "", tuple(alias.name for alias in names), node.lineno, optional)
            case ast.Assign([ast.Name("__all__")], ast.List(items) | ast.Tuple(items)), _ if is_package:
                # `from package import *` imports the submodules in `__all__`
                submodules = tuple(str(item.value) for item in items if isinstance(item, ast.Constant))
                yield Import(1, "", submodules, optional=True)
            case node, optional:
                suppressed = isinstance(node, ast.With) and "suppress" in ast.unparse(node.items[0].context_expr)
                tried = optional or suppressed or isinstance(node, ast.If | ast.Try)
                todo += ((statement, tried) for block in blocks(node) for statement in block)
    if "import_module" in text or "__import__" in text:
        for call in ast.walk(tree):
            match call:
                case ast.Call(
                    ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module"),
                    [ast.Constant(str(name)), *_],
                ):
                    module = name.lstrip(".")
                    yield Import(len(name) - len(module), module, optional=True)
