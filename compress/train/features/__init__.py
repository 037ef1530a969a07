"""Feature matching between student and teacher: layer discovery, forward hooks, matched layers."""
