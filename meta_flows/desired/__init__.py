"""From configuration to specs: the desired state of an environment."""
