"""Texts that a teacher writes to prompts of a guide: prompts, writers, filters, and the stage `generate`."""
