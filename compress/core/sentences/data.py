"""Sentences of data."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "data.not_an_image_file": lambda fact: f"{fact.values['suffix'] or 'no suffix'}: not an image file",
    "data.more_files_skipped": "not image files",
    "data.synthetic_evaluation": (
        "taken from the synthetic set itself, which no data set stands behind: accuracy on them is not accuracy on real images"
    ),
}
SUBJECTS: Sentences = {
    "data.more_files_skipped": "{files} more files",
    "data.synthetic_evaluation": "validation and test images",
}
