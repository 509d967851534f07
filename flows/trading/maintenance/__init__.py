"""Keeping the database small."""
