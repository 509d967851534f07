"""Reading YAML files into documents: as `yaml.safe_load`, less its surprises, with the location of every key."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import yaml

from meta_flows.configuration.documents import Document, KeyPath
from meta_flows.configuration.settings import settings
from meta_flows.diagnostics import MetaFlowsError, diagnostic, refuse
from meta_flows.files import read_file
from meta_flows.models import Diagnostic, Location

_MAX_DEPTH = 50
_MAX_VALUES = 100_000
_YAML = "tag:yaml.org,2002:"
_PLAIN = {_YAML + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "map", "seq")}


def load_document(path: Path, root: Path) -> Document:
    """Read one YAML file, with its aliases and merge keys; an empty file is an empty mapping.

    Keys, dates and times stay text as written: JSON has only text keys, and neither dates nor times.

    Raises:
        MetaFlowsError: It cannot be read, is not YAML, holds a key twice, or is not a mapping.
    """
    name, text = display_path(path, root), read_text(path, root)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None or node.tag == _YAML + "null":
            return Document(places={(): Location(path=name, line=1)})
        if not isinstance(node, yaml.MappingNode):
            place = _location(name, node.start_mark)
            raise refuse("MF203", place, key=path.name, detail="must be a mapping of keys to values")
        reader = _Reader(name)
        data = reader.value(node, ())
    except RecursionError:
        detail = "nested too deeply, or an alias that contains itself"
        raise refuse("MF201", Location(path=name), detail=detail) from None
    except yaml.MarkedYAMLError as error:
        place = _location(name, error.problem_mark or error.context_mark)
        raise refuse("MF201", place, detail=error.problem or error.context) from None
    except yaml.reader.ReaderError as error:
        place = Location(path=name, line=text.count("\n", 0, error.position) + 1)
        raise refuse("MF201", place, detail=error.reason) from None
    if reader.errors:
        raise MetaFlowsError(reader.errors.values())
    return Document(data, reader.places)


def read_text(path: Path, root: Path) -> str:
    """Return the text of a UTF-8 file with universal newlines; raise MetaFlowsError if it cannot be read."""
    name = display_path(path, root)
    try:
        return io.TextIOWrapper(io.BytesIO(read_file(path, root)), encoding="utf-8-sig").read()
    except FileNotFoundError:
        raise refuse("MF215", what="the file", path=name) from None
    except UnicodeDecodeError as error:
        raise refuse("MF216", Location(path=name), detail=f"byte {error.start + 1} is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise refuse("MF216", Location(path=name), detail=getattr(error, "strerror", None) or error) from None


def configuration_folder(root: Path) -> Path:
    """Return the folder of environments and templates: DEPLOYMENT_CONFIG_PATH, or else `environments/`."""
    configured = settings().deployment_config_path
    folder = root / (configured or "environments")
    if configured and not folder.is_dir():
        raise refuse("MF215", what="the folder that DEPLOYMENT_CONFIG_PATH names", path=display_path(folder, root))
    return folder


def display_path(path: Path, root: Path) -> str:
    """Return a file's path as locations show it: relative to the root if it is inside."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


class _Reader:
    """Turns the nodes of one file into data and collects locations and errors."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[KeyPath, Location] = {(): Location(path=name, line=1)}
        self.errors: dict[Location, Diagnostic] = {}
        self._scalars = yaml.constructor.SafeConstructor()
        self._count = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._count_value()
        if len(path) > _MAX_DEPTH:
            raise RecursionError
        if node.tag not in _PLAIN:
            return self._fail("MF201", node, detail=f"the tag {node.tag.replace(_YAML, '!!')} is not supported")
        if isinstance(node, yaml.MappingNode):
            pairs = self._pairs(node).items()
            self.places.update({(*path, name): _location(self.name, key.start_mark) for name, (key, _) in pairs})
            return {name: self.value(value, (*path, name)) for name, (_, value) in pairs}
        if isinstance(node, yaml.SequenceNode):
            items = [*enumerate(node.value)]
            self.places.update({(*path, index): _location(self.name, item.start_mark) for index, item in items})
            return [self.value(item, (*path, index)) for index, item in items]
        return self._scalar(node)

    def _pairs(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return a mapping's own pairs and those merged with `<<`; its own win, then the first merged."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            self._count_value()
            if not isinstance(key, yaml.ScalarNode) or re.search(r"[\ud800-\udfff]", key.value):
                self._fail("MF201", key, detail="a key must be text")
            elif key.tag == _YAML + "merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(source, yaml.MappingNode):
                        merged = self._pairs(source) | merged
                    else:
                        self._fail("MF201", source, detail="'<<' merges mappings only")
            elif key.value in own:
                self._fail("MF208", key, key=key.value, first=own[key.value][0].start_mark.line + 1)
            else:
                own[key.value] = (key, value)
        return merged | own

    def _scalar(self, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix(_YAML)
        sexagesimal = kind in ("int", "float") and ":" in node.value  # YAML 1.1 reads 10:30 as 630
        as_written = sexagesimal or kind in ("str", "timestamp", "value")
        try:
            value = node.value if as_written else self._scalars.construct_object(node)
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except (yaml.YAMLError, ValueError, LookupError):
            return self._fail("MF201", node, detail=f"{node.value!r} is no {kind} that JSON can hold")
        return value

    def _count_value(self) -> None:
        self._count += 1
        if self._count > _MAX_VALUES:
            detail = f"over {_MAX_VALUES:,} values, once aliases are expanded"
            raise refuse("MF201", Location(path=self.name), detail=detail)

    def _fail(self, code: str, node: yaml.Node, **facts: object) -> None:
        place = _location(self.name, node.start_mark)
        self.errors[place] = diagnostic(code, place, **facts)


def _location(name: str, mark: yaml.Mark | None) -> Location:
    return Location(path=name, line=mark.line + 1, column=mark.column + 1) if mark else Location(path=name)
