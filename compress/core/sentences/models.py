"""Sentences of models."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "models.not_measured_without_labels": (
        "accuracy is not measured, since there are no labels; metrics compare the outputs with those of {subject}{random}"
    ),
    "models.opset_converted": (
        "operators of {subject} converted from opset {before} to {after}, which has what quantization needs"
    ),
    "models.free_axes_fixed": (
        "free axes of {subject} are fixed to the sizes of the data in this chain ({sizes}), since its torch network is trained "
        "and exported at these sizes; a chain without stages that train keeps them free"
    ),
    "models.operators_folded": (
        "{count} batch norms, products and sums with constants are folded into the weights of {subject}; its outputs "
        "are those of the given file, compared on samples"
    ),
    "models.control_flow_in_float": (
        "{count} operators with weights inside {subject} stay in float: operators in branches and loops are not quantized"
    ),
    "models.small_stem_no_convolution": "small_stem changed nothing: the network has no convolution",
    "models.small_stem_has_stride_1": "small_stem changed nothing: the first convolution {subject} already has stride 1",
    "models.small_stem_cuts_patches": (
        "small_stem changed nothing: the first convolution {subject} is a patch embedding ({kernel_size})"
    ),
    "models.small_stem_stride": "small_stem: stride of convolution {subject} {stride} → 1",
    "models.small_stem_pooling_removed": "small_stem: max-pooling {subject} removed",
    "models.channels_fitted": (
        "input channels of the first convolution {subject}: {before} → {after}, with its weights summed or repeated"
    ),
    "models.classes_fitted": "classes of the head {subject}: {before} → {after}, with newly initialised weights",
    "models.unwrapped": "the network inside the wrapper {subject} is used; its function is the same",
    "models.plain_weight": "{subject} was computed by {origin} in each run, and is now a plain weight with the same value",
    "models.structure_from_file": "weights and structure from {subject}",
    "models.weights_from_file": "weights from {subject}",
    "models.averaged_weights": "{subject} also contains averaged weights; to use them, set weights: {entry}",
    "models.weights_unused": (
        "{count} entries of {subject} outside `{prefix}` belong to other modules and are not used: {first}"
    ),
    "models.auxiliary_unused": "{count} entries of {subject} belong to heads that only training uses, and are ignored: {first}",
    "models.fresh_head": "{count} weights of {subject} are not in its files, and are newly initialised: {first}",
    "models.converted_to_float32": "{count} tensors of {subject} were converted from {dtype} to float32",
    "models.layers_kept": "layers {kept} of the {depth} layers of {subject} are kept, with their weights",
    "models.embeddings_from_teacher": (
        "{subject} starts from the vectors of the teacher's tokens, projected to width {width}, with {kept:.1%} of the variance"
    ),
    "models.vision_from_teacher": "{subject} starts from the vision encoder of the teacher, {parameters:,} parameters",
    "models.embeddings_factorized": (
        "embeddings of {subject}: {before:,} parameters of width {width} become {after:,} by rank {rank}, with {kept:.1%} of "
        "the variance"
    ),
    "models.vocabulary_pruned": (
        "{subject} keeps the vectors of {after:,} of its {before:,} tokens, those of the pruned tokenizer: "
        "{parameters:,} parameters less"
    ),
    "models.unused_rows": (
        "{subject} keeps the vectors of the {after:,} tokens of its tokenizer, and loses {rows:,} rows of no token: "
        "{parameters:,} parameters less"
    ),
    "models.vocabulary_mapped": (
        "{subject} keeps all {before:,} tokens, and the {after:,} of the pruned tokenizer are mapped to them"
    ),
    "models.teacher_copied": "the network is a copy of the trained teacher",
    "models.fitted_by_timm": "timm:{subject} with pretrained weights: timm adapted head and first layer to the data",
    "models.partition_size": "{subject}: partition size 7 → {after}, a divisor of the image size of {pixels} pixels",
    "models.position_embeddings_interpolated": "position embeddings interpolated: {before} → {after} pixels",
    "models.hugging_face_folder": "{subject}/ is an ordinary folder of transformers, which {kind}.from_pretrained loads",
    "models.no_configuration": (
        "no folder for transformers: {subject} has the shape {shape}, and no configuration gives layers of different widths or "
        "heads (a configuration of this one gives {expected}); model.pt2 loads without this package"
    ),
    "models.no_hugging_face_folder": "no folder for transformers: {reason}",
    "models.normalised_otherwise": (
        "the weights were trained on images with mean {mean} and std {std}, and the data have {data_mean} and {data_std}; "
        "set data.mean and data.std to the former unless this is intended"
    ),
}
