"""Commands about the configuration."""

from __future__ import annotations

from rich.text import Text

from meta_flows import discovery
from meta_flows.commands.options import Common, EnvironmentName
from meta_flows.commands.output import out, print_errors, print_json, print_table, table
from meta_flows.configuration import Selection, Setting, configure, explain, load_environment


def show(*, environment: EnvironmentName = None, flow: str | None = None, common: Common = Common()) -> int:
    """Print the resolved configuration of an environment, or of a flow in it, and where each value was said.

    Args:
        environment: Which environment.
        flow: Flow by its slug, name, function, folder or path.
        common: What to work on, and how to speak.
    """
    root = common.root.resolve()
    target = load_environment(root, environment)
    resolved = {f"environment {target.name}": explain(target)}
    if flow:
        configured = configure(root, discovery.discover(root), target, Selection(flows=(flow,)), parameters={})
        print_errors(configured.refused)
        resolved = {f"flow {item.flow.name} in {target.name}": explain(item.configuration) for item in configured.flows}
    if common.json:
        print_json({title: [setting._asdict() for setting in found] for title, found in resolved.items()})
    else:
        for title, found in resolved.items():
            _print(title, found)
    return 0 if resolved else 1


def _print(title: str, found: list[Setting]) -> None:
    out.print(Text(title, style="bold"))
    shown = table("", "value", "said by")
    for path, value, origin in found:
        shown.add_row(path, "" if value is None else str(value), Text(origin, style="dim"))
    print_table(shown)
