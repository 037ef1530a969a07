"""What a task can have that a method may require. Light."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Capability = Literal[
    "continuous_input",
    "class_targets",
    "class_rows",
    "per_sample_score",
    "row_per_sample",
    "fixed_rows",
    "self_supervised",
    "sample_vector",
    "map_outputs",
    "image_input",
    "box_targets",
    "postprocessing",
    "writes_text",
    "takes_prompts",
    "visual_tokens",
    "paired_vectors",
    "blank_class",
]
"""Capability of a task that a method may require, see `CAPABILITIES`."""

CAPABILITIES: Mapping[Capability, str] = MappingProxyType(
    {
        "continuous_input": "one input of real numbers, so that mixtures of samples and gradients by the input are defined",
        "class_targets": "one class for each sample",
        "class_rows": "logits of classes, for which a softmax is defined",
        "per_sample_score": "a deciding metric that is the mean of a score of each sample",
        "row_per_sample": "one row of outputs for each sample",
        "fixed_rows": "several rows of outputs for each sample, in the order of samples, that depend on its targets alone",
        "self_supervised": "targets that are made from the inputs, such as hidden tokens",
        "sample_vector": "one vector of features for each sample, as before a fully connected layer",
        "map_outputs": "outputs with a height and a width, such as logits of pixels",
        "image_input": "one image (C, H, W) as input, normalised per channel",
        "box_targets": "boxes of objects as targets",
        "postprocessing": "results that are computed from the outputs, such as non-maximum suppression of boxes",
        "writes_text": "texts that a network writes, one token after the other",
        "takes_prompts": "samples that are prompts with responses",
        "visual_tokens": "tokens of an image before those of a text, and logits at both",
        "paired_vectors": "a vector of an image and one of a text for each sample",
        "blank_class": "a logit of the blank of CTC, the first class, in each row",
    }
)
"""Capabilities with their meaning."""
