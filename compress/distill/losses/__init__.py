"""Distillation losses, one file a method."""
