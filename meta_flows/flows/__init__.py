"""The meta-flows, one a file: composition only, so that reading one top to bottom tells what it does."""

from meta_flows.flows.deploy_all import deploy_all

__all__ = ["deploy_all"]
