"""Sentences of data."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "data.random_inputs": lambda fact: (
        "inputs are random noise, not data: ranges and similarities hold for noise alone; give real inputs with npz:PATH"
        + (f"; sizes of free axes are guessed: {fact.values['sizes']}" if fact.values["sizes"] else "")
    ),
    "data.few_samples_in_all_splits": (
        "{count} samples are too few to split: training, validation and test all use the same ones, from {subject}"
    ),
    "data.normalised_as_imagenet": (
        "images are normalised with ImageNet's mean {mean} and std {std}: give data.mean and data.std for others"
    ),
    "data.not_an_image_file": lambda fact: f"{fact.values['suffix'] or 'no suffix'}: no file of a kind that is read",
    "data.broken_link": "a link that leads nowhere",
    "data.link_within_the_folder": "a link to a file or folder of the data set itself, or to one that holds it",
    "data.same_file": "a link to a file that is already used",
    "data.not_a_regular_file": "neither a file nor a folder",
    "data.classes_hold_same_folders": (
        "the class folders {subject} all hold the same folders ({folders}): if they are splits and not classes, name them "
        "train, val and test"
    ),
    "data.duplicates_between_splits": (
        "{count} samples of the {second} split are also in the {first} split ({subject} is one): figures of the {second} split "
        "are too good"
    ),
    "data.normalised_by_unknown_values": (
        "the loaders give values from {low:.3g} to {high:.3g}, and Data.from_loaders has mean {mean} and std {std}: infer.py "
        "gives the network pixels in [0, 1] that are changed by these alone; pass the mean and std that the loaders use"
    ),
    "data.loader_pixels_differ": (
        "infer.py gives the network other pixels of {subject} than the test loader (by up to {levels} of 255 levels): make the "
        "loader decode and resize as infer.py does, or pass the mean, std and resize that it uses to Data.from_loaders"
    ),
    "data.equal_samples_in_loaders": (
        "{count} of {probed} samples of the {second} loader that were compared are also in the {first} loader: figures of the "
        "{second} split are too good"
    ),
    "data.classes_missing": (
        "{count} classes have no sample in the {split} split ({subject}): its figures say nothing about them"
    ),
    "data.more_files_skipped": "no files of a kind that is read",
    "data.frames_skipped": "training, tests and infer.py use the first frame of a file",
    "data.drawn_scenes": "images of {subject} are drawn by code (synthetic): figures on them say little about photographs",
    "data.synthetic_evaluation": (
        "taken from the synthetic set itself, which no data set stands behind: accuracy on them is not accuracy on real images"
    ),
}
SUBJECTS: Sentences = {
    "data.more_files_skipped": "{files} more files",
    "data.frames_skipped": "further frames of {files} files ({subject} is one)",
    "data.synthetic_evaluation": "validation and test images",
}
