"""Flows that bring market data in, and look at what is there."""
