"""Data sources, one file for each source prefix."""
