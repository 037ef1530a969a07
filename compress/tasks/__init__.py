"""Tasks, one file for each, with their metrics."""
