"""Texts that the teacher or the student writes while a student is distilled."""
