"""Market data: ingested, validated, turned into indicators, and in the end deleted."""
