"""Pruning of channels, attention heads and residual blocks over a dependency graph."""
