"""Distillation of data: a small synthetic training set in place of a large real one."""
