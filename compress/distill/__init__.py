"""Distillation: the stage, and one file a loss."""
