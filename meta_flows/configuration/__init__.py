"""Configuration: layers of YAML files, from built-in defaults to the command line, resolved per environment and flow.

All errors are reported together, with file and line; every value knows the layer that it comes from.
"""

from meta_flows.configuration.documents import Document
from meta_flows.configuration.env_files import load_env_file, read_env_file
from meta_flows.configuration.environment import (
    Environment,
    GitSource,
    LocalSource,
    environment_names,
    load_environment,
)
from meta_flows.configuration.flow_file import FlowConfiguration, FlowFile
from meta_flows.configuration.resolve import flow_configuration
from meta_flows.configuration.schedules import Schedule
from meta_flows.configuration.secrets import looks_secret
from meta_flows.configuration.sections import Setting, explain
from meta_flows.configuration.selection import Configured, ConfiguredFlow, Selection, configure, deployment_name
from meta_flows.configuration.templates import Template, load_template, placeholders

__all__ = [
    "Configured",
    "ConfiguredFlow",
    "Document",
    "Environment",
    "FlowConfiguration",
    "FlowFile",
    "GitSource",
    "LocalSource",
    "Schedule",
    "Selection",
    "Setting",
    "Template",
    "configure",
    "deployment_name",
    "environment_names",
    "explain",
    "flow_configuration",
    "load_env_file",
    "load_environment",
    "load_template",
    "looks_secret",
    "placeholders",
    "read_env_file",
]
