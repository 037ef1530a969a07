"""Sentences of models."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "models.not_measured_without_labels": (
        "accuracy is not measured: no labels. Figures say how near the outputs stay to those of {subject}{random}"
    ),
    "models.opset_converted": "operators of {subject} converted from opset {before} to {after}: quantization needs 13",
    "models.control_flow_in_float": (
        "{count} operators with weights inside {subject} stay in float: quantization does not reach into branches and loops"
    ),
    "models.small_stem_no_convolution": "small_stem changed nothing: the network has no convolution",
    "models.small_stem_has_stride_1": "small_stem changed nothing: the first convolution {subject} has stride 1 already",
    "models.small_stem_cuts_patches": (
        "small_stem changed nothing: the first convolution {subject} cuts patches ({kernel_size})"
    ),
    "models.small_stem_stride": "small_stem: convolution {subject} stride {stride} → 1",
    "models.small_stem_pooling_removed": "small_stem: max-pooling {subject} removed",
    "models.channels_fitted": (
        "first convolution {subject} fitted: {before} → {after} channels, its weights summed or spread over them"
    ),
    "models.classes_fitted": "head {subject} fitted: {before} → {after} classes, with fresh weights",
    "models.unwrapped": "the network inside the wrapper {subject} is used, which computes the same",
    "models.plain_weight": "{subject} was computed by {origin} before each run; the weight that it gives is now a plain weight",
    "models.structure_from_file": "weights and structure from {subject}",
    "models.weights_from_file": "weights from {subject}",
    "models.averaged_weights": "{subject} also holds averaged weights; to use them, set weights: {entry}",
    "models.weights_unused": (
        "{count} entries of {subject} outside `{prefix}` belong to other modules and are not used: {first}"
    ),
    "models.auxiliary_unused": "{count} entries of {subject} belong to heads for training alone and are not used: {first}",
    "models.fresh_head": "{count} weights of {subject} are not in its files and fresh: {first}",
    "models.converted_to_float32": "{count} tensors of {subject} were converted from {dtype} to float32",
    "models.fitted_by_timm": "timm:{subject} with pretrained weights: head and first layer fitted by timm",
    "models.partition_size": "{subject}: partition size 7 → {after}, to divide images of {pixels} pixels",
    "models.position_embeddings_interpolated": "position embeddings interpolated: {before} → {after} pixels",
    "models.normalised_otherwise": (
        "the weights were trained on images normalised with {mean} and {std}, the data here with {data_mean} and {data_std}"
    ),
}
