"""What can be wrong with a `deployment.yaml` whose every value is of the right type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meta_flows.configuration.documents import Document, KeyPath, leaves
from meta_flows.configuration.secrets import looks_secret
from meta_flows.errors import did_you_mean, problem
from meta_flows.models import FlowMetadata, ValidationError, kebab


def named(key: str, siblings: Sequence[FlowMetadata]) -> list[FlowMetadata]:
    """The flow of that name, or else the only one whose function is called so."""
    by_function = [flow for flow in siblings if flow.function_name == key]
    return [flow for flow in siblings if flow.name == key] or (by_function if len(by_function) == 1 else [])


def parameters(flow: FlowMetadata) -> list[str]:
    """The names that Prefect takes; `**kwargs` is one parameter, `kwargs`, and any other name fails the run."""
    return [parameter.name for parameter in flow.parameters]


def misplaced(file: Document, siblings: Sequence[FlowMetadata]) -> Iterator[ValidationError]:
    """What would apply to several flows, or to none."""
    for key in ("slug", "description"):
        if len(siblings) > 1 and file.data.get(key) is not None:
            yield problem("MF214", file.place((key,)), key=key, count=len(siblings))
    if all(flow.function_name for flow in siblings):  # of a file that cannot be parsed the flows are not known
        known = [flow.name for flow in siblings]
        for key in file.data.get("flows") or {}:
            if not named(key, siblings):
                suggestion = did_you_mean(key, [*known, *(flow.function_name for flow in siblings)])
                place = file.place(("flows", key))
                yield problem("MF213", place, name=key, suggestion=suggestion, known=", ".join(known))


def unknown_parameters(section: Document, flow: FlowMetadata) -> Iterator[ValidationError]:
    """Parameters, of runs or of schedules, that the flow does not have."""
    known = parameters(flow)
    paths: list[KeyPath] = [("parameters", name) for name in section.data.get("parameters") or {}]
    for index, schedule in enumerate(section.data.get("schedules") or ()):
        paths += [("schedules", index, "parameters", name) for name in schedule.get("parameters") or {}]
    for path in paths:
        name = str(path[-1])
        if name not in known:
            facts = {"suggestion": did_you_mean(name, known), "known": ", ".join(known) or "none"}
            yield problem("MF211", section.place(path), flow=flow.name, parameter=name, **facts)


def ownership_tags(section: Document) -> Iterator[ValidationError]:
    """Tags that say who owns a deployment: they are ours to give."""
    for index, tag in enumerate(section.data.get("tags") or ()):
        if tag.startswith(("project:", "environment:")):
            detail = f"'{tag}' says who owns a deployment; such tags come from the environment's file"
            yield problem("MF203", section.place(("tags", index)), key="tags", detail=detail)


def secrets(file: Document) -> Iterator[ValidationError]:
    """Secrets in the environment variables and parameters of a file that everybody can read."""
    for path, value in leaves(file.data):
        name = str(path[-1]) if path else ""
        code = "MF303" if "parameters" in path[:-1] else "MF301" if path[-3:-1] == ("job_variables", "env") else None
        if code and looks_secret(name, value):
            yield problem(code, file.place(path), key=name, block=kebab(name))
