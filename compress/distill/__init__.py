"""Distillation: the stage, and one file for each loss."""
