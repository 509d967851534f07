"""Configuration: YAML files in layers, from built-in defaults to the command line, and what they come to.

Everything wrong is said at once, with file and line; every value knows which layer it comes from.
"""

from meta_flows.configuration.documents import Document
from meta_flows.configuration.env_files import load_env_file
from meta_flows.configuration.environment import (
    DockerSettings,
    Environment,
    GitSource,
    LocalSource,
    ResourceLimits,
    WorkPool,
)
from meta_flows.configuration.flow_file import ConcurrencyLimit, FlowConfiguration, FlowFile, KindOptions
from meta_flows.configuration.resolve import environment_names, flow_configuration, load_environment
from meta_flows.configuration.schedules import Schedule
from meta_flows.configuration.secrets import looks_secret
from meta_flows.configuration.sections import Setting, explain
from meta_flows.configuration.selection import Configured, ConfiguredFlow, Selection, configure, deployment_name
from meta_flows.configuration.templates import Template, load_template

__all__ = [
    "ConcurrencyLimit",
    "Configured",
    "ConfiguredFlow",
    "DockerSettings",
    "Document",
    "Environment",
    "FlowConfiguration",
    "FlowFile",
    "GitSource",
    "KindOptions",
    "LocalSource",
    "ResourceLimits",
    "Schedule",
    "Selection",
    "Setting",
    "Template",
    "WorkPool",
    "configure",
    "deployment_name",
    "environment_names",
    "explain",
    "flow_configuration",
    "load_env_file",
    "load_environment",
    "load_template",
    "looks_secret",
]
