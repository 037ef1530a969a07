"""Sentences of dataset distillation."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "dataset_distillation.curve_of_first_batch": "the curve is that of the first of {batches} batches of images",
    "dataset_distillation.depth_limited": (
        "the method used networks of {depth} blocks, not {requested}: the size of the images allows no more"
    ),
    "dataset_distillation.files": (
        "{subject} holds the exact images and their soft labels, {previews}/ a PNG of each; "
        "`data: {{source: distilled:PATH}}` with the path of the file trains on it"
    ),
    "dataset_distillation.first_teacher_inverted": (
        "the first of {teachers} teachers was inverted; the soft labels are the mean of all"
    ),
    "dataset_distillation.one_hot_labels": "no teacher labelled the images: the soft labels are one-hot",
    "dataset_distillation.used_by_later_stages": (
        "later stages train on this set: on its classes, or on its soft labels with `distill: {{teacher: distilled}}`"
    ),
}
