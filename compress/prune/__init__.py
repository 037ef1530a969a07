"""Pruning: the stage, and one file a method."""
