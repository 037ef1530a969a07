"""Sentences of dataset distillation."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "dataset_distillation.curve_of_first_batch": "the curve shows the first of {batches} batches of images",
    "dataset_distillation.depth_limited": (
        "the method used networks of {depth} blocks, not {requested}: the images are too small for more"
    ),
    "dataset_distillation.files": (
        "{subject} contains the images and their soft labels, {previews}/ a PNG of each image; "
        "use the file as training data with `data: {{source: distilled:PATH}}`"
    ),
    "dataset_distillation.first_teacher_inverted": (
        "the first of {teachers} teachers was inverted; the soft labels are the mean over all teachers"
    ),
    "dataset_distillation.one_hot_labels": "the soft labels are one-hot, since there is no teacher",
    "dataset_distillation.used_by_later_stages": (
        "later stages train on this set: on its classes, or on its soft labels with `distill: {{teacher: distilled}}`"
    ),
}
