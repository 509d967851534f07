"""What is computed from market data."""
