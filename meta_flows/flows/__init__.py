"""The meta-flows, one a file: composition only, so that reading one top to bottom tells what it does."""

from meta_flows.flows.check_ui import check_ui
from meta_flows.flows.clean_deployments import clean_deployments
from meta_flows.flows.deploy_all import deploy_all
from meta_flows.flows.images import images
from meta_flows.flows.reconcile import reconcile
from meta_flows.flows.register import register
from meta_flows.flows.rollback import rollback
from meta_flows.flows.validate import validate

__all__ = ["check_ui", "clean_deployments", "deploy_all", "images", "reconcile", "register", "rollback", "validate"]
