"""`python -m meta_flows` is the `meta-flows` command."""

from meta_flows.cli import run

run()
