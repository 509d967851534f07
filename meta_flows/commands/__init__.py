"""The commands, a module for each family; `meta_flows.cli` lists them."""
