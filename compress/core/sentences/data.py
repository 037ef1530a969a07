"""Sentences of data."""

from __future__ import annotations

from compress.core.language import gettext
from compress.core.sentences.splits import of_splits
from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "data.files_without_group": (
        "{files} of {total} test files have no group, such as {subject}, and are left out of the figures of groups"
    ),
    "data.groups_of_windows": "no figures of groups: long texts are divided into windows, whose groups are not read",
    "data.random_inputs": lambda fact: (
        gettext("inputs are random noise, so ranges and similarities are valid only for noise; use real inputs with npz:PATH")
        + (gettext("; sizes of free axes are assumed: {sizes}", sizes=fact.values["sizes"]) if fact.values["sizes"] else "")
    ),
    "data.clip_unreadable": "{subject} is left out: {reason}",
    "data.clips_unreadable": "{count} audio files cannot be read, and are left out: {subject}",
    "data.clips_short": "{count} clips are too short for a network, and are left out: {subject}",
    "data.clips_long": "{count} clips are longer than {most} s (`audio.most`), and are left out: {subject}",
    "data.clips_cut": "{count} clips are longer than {most} s (`audio.most`), and are cut there: {subject}",
    "data.clips_silent": "{count} clips are silent, each sample is zero: {subject}",
    "data.clips_clipped": "{count} clips are clipped, over 1 % of their samples have the largest value: {subject}",
    "data.clips_fast": (
        "{count} clips have more characters than anybody says in their time: a wrong transcript, or a wrong sampling rate in "
        "the header: {subject}"
    ),
    "data.clips_unwritable": (
        "{count} transcripts have characters that those of the training clips lack, which the network cannot write and which "
        "count as errors: {subject}"
    ),
    "data.texts_cut": of_splits("{count} of {texts} {subject} texts are longer than {most} tokens, and are cut there"),
    "data.prompts_cut": of_splits(
        "{count} of {texts} {subject} prompts are too long for {most} tokens with their response, and lose their beginning"
    ),
    "data.responses_cut": of_splits(
        "{count} of {texts} {subject} responses are too long for {most} tokens with their prompt, and lose their end"
    ),
    "data.sources_cut": of_splits("{count} of {texts} {subject} prompts are longer than {most} tokens, and lose their end"),
    "data.answers_cut": of_splits("{count} of {texts} {subject} responses are longer than {most} tokens, and lose their end"),
    "data.texts_augmented": lambda fact: (
        gettext(
            "{copies} changed copies of {texts} training texts were made by {methods}; {left_out} more were equal to others, "
            "and left out; they are in {subject}",
            subject=fact.subject,
            **{name: fact.values[name] for name in ("copies", "texts", "methods", "left_out")},
        )
        + (
            gettext("; copies of methods that may change the meaning have the teacher's answers as labels")
            if fact.values["labels"] == "teacher"
            else gettext("; they have the labels of their texts")
        )
    ),
    "data.synonyms_of": lambda fact: (
        gettext("synonyms are the {neighbours} nearest words in the teacher's table of tokens", **fact.values)
        if fact.subject == "teacher"
        else gettext("synonyms are those of {source}", source="WordNet" if fact.subject == "wordnet" else fact.subject)
    ),
    "data.texts_without_target": (
        "{count} of {texts} training texts have no target (for example {subject}): they are used for distillation, and left "
        "out of training on targets"
    ),
    "data.own_tokens": (
        "the teacher {subject} reads the texts by its own tokenizer of {tokens:,} tokens, and the student by that of the data: "
        "the teacher's answers for whole texts are compared; {cut} of {texts} test texts are longer than {most} of its tokens"
    ),
    "data.texts_empty": of_splits("{count} of {texts} {subject} texts are empty: their answer does not depend on a text"),
    "data.no_padding_token": (
        "the tokenizer names no padding token: shorter texts of a batch are filled with token {token}, which the attention "
        "mask hides"
    ),
    "data.few_samples_in_all_splits": (
        "{count} samples are too few to split: training, validation and test all use the same ones, from {subject}"
    ),
    "data.normalised_as_imagenet": (
        "images are normalised with the mean {mean} and std {std} of ImageNet; set data.mean and data.std for other values"
    ),
    "data.not_an_image_file": lambda fact: gettext(
        "{suffix}: not a supported image format", suffix=fact.values["suffix"] or gettext("no suffix")
    ),
    "data.broken_link": "a link whose target does not exist",
    "data.link_within_the_folder": "a link to a file or folder of the data set, or to a folder that contains the data set",
    "data.same_file": "a link to a file that is already used",
    "data.not_a_regular_file": "neither a file nor a folder",
    "data.classes_hold_same_folders": (
        "all class folders {subject} contain the same folders ({folders}); if they are splits and not classes, name them "
        "train, val and test"
    ),
    "data.duplicates_between_splits": of_splits(
        "{count} samples of the {second} split are also in the {first} split (for example {subject}): metrics on the {second} "
        "split are too optimistic"
    ),
    "data.normalised_by_unknown_values": (
        "values of the loaders are from {low:.3g} to {high:.3g}, and Data.from_loaders has mean {mean} and std {std}: infer.py "
        "normalises pixels in [0, 1] with these values only; pass the mean and std that the loaders use"
    ),
    "data.loader_pixels_differ": (
        "the pixels of {subject} in infer.py and in the test loader differ (by up to {levels} of 255 levels): decode and "
        "resize in the loader as infer.py does, or pass its mean, std and resize to Data.from_loaders"
    ),
    "data.equal_samples_in_loaders": of_splits(
        "{count} of {probed} compared samples of the {second} loader are also in the {first} loader: metrics on the {second} "
        "split are too optimistic"
    ),
    "data.repeated_samples": of_splits(
        "{count} of {samples} compared samples of the {split} split are copies of others, so only {distinct} are different: "
        "intervals of its metrics are too narrow and show no limit; keep one of each"
    ),
    "data.samples_differ": of_splits(
        "{count} of {samples} samples of the {split} loader differ when they are read again, so metrics before and after a "
        "stage are not of the same samples and show no limit; remove random transforms from this dataset, or seed them by the "
        "index of the sample"
    ),
    "data.classes_missing": of_splits(
        "{count} classes have no sample in the {split} split ({subject}), so its metrics do not include them"
    ),
    "data.more_files_skipped": "not a supported format",
    "data.masks_unused": "a folder of masks beside the splits: a network is judged by the class folder of each image",
    "data.frames_skipped": "training, tests and infer.py use the first frame of a file",
    "data.drawn_scenes": "images of {subject} are synthetic: metrics on them are not valid for photographs",
    "data.images_without_caption": (
        "{count} images beside those of the table have no caption, such as {subject}, and are left out"
    ),
    "data.captions_right_to_left": (
        "{count} of {texts} captions are written right to left (for example {subject}): their tokens are in the order of "
        "reading, as in the file"
    ),
    "data.lines_with_new_characters": (
        "{count} validation and test texts have characters that no training text has, such as {subject}: the network cannot "
        "write them, and each counts as an error"
    ),
    "data.synthetic_evaluation": (
        "they are from the synthetic set, since there is no real data set: accuracy on them is not accuracy on real images"
    ),
}
SUBJECTS: Sentences = {
    "data.more_files_skipped": "{files} more files",
    "data.frames_skipped": "further frames of {files} files (for example {subject})",
    "data.synthetic_evaluation": "validation and test images",
}
