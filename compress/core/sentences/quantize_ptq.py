"""Sentences of post-training quantization, of learned ranges and of training with fake quantization."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext, ngettext
from compress.core.sentences.table import Sentences

_RECOVERED = (
    "fine-tuned with fake quantization at the Q/DQ pairs of {subject}: {bits}-bit weights, scales {scales}, best after epoch "
    "{best_epoch} of {epochs}"
)
_BLOCKS = (
    "fine-tuned with the weights of {layers} linear layers rounded in blocks: scales {scales}, best after epoch {best_epoch} "
    "of {epochs}"
)
_RANGES_LEARNED = (
    "ranges and biases learned together, {counted} over {samples} samples: SQNR of the outputs "
    "{before_db:.1f} dB before and {after_db:.1f} dB after, on {held_out} other samples"
)


def _ranges_learned(fact: Fact) -> str:
    counted = ngettext("{number} epoch", "{number} epochs", int(str(fact.values["epochs"])))
    return gettext(_RANGES_LEARNED, counted=counted, **fact.values)


SENTENCES: Sentences = {
    "quantize_ptq.block_not_trained": (
        "{subject} is not trained: its matrix is shared, or is not that of the layer of this name in the torch network"
    ),
    "quantize_ptq.block_recovery_discarded": (
        f"{_BLOCKS}; its metric is worse than before, so the integers before are used: try a lower recover.lr or more epochs"
    ),
    "quantize_ptq.blocks_recovered": _BLOCKS,
    "quantize_ptq.block_error": (
        "{subject}: output error of a block {ratio:.0%} of that of nearest rounding (median over {blocks} blocks, on {samples} "
        "samples or more)"
    ),
    "quantize_ptq.block_not_reconstructed": "{error}; adaround rounds its layers one at a time",
    "quantize_ptq.clip_between_layers": (
        "a factor cannot be moved through the clip between the layers; a network with ReLU instead of ReLU6 can be equalized "
        "(stage `substitute` with activations: relu, for HardSwish or SiLU)"
    ),
    "quantize_ptq.fisher_not_available": "{error}; all outputs have the same weight",
    "quantize_ptq.frozen_layers_not_trained": (
        "recovery did not change the weights of {count} layers, which are frozen in the network (requires_grad=False)"
    ),
    "quantize_ptq.learned_ranges_discarded": lambda fact: gettext(
        "{ranges}; the calibrated ranges are used instead", ranges=_ranges_learned(fact)
    ),
    "quantize_ptq.linear_inputs_smoothed": (
        "SmoothQuant (α = {alpha:g}): {layers} linear layers read smoothed activations; the largest range of a channel ÷ the "
        "median range changed from {ratio_before:.3g} to {ratio_after:.3g} (median over layers)"
    ),
    "quantize_ptq.no_bias_to_correct": "it has no bias for the correction",
    "quantize_ptq.no_pairs_to_equalize": "no two consecutive layers have nothing or only a ReLU between them",
    "quantize_ptq.nothing_to_smooth": (
        "SmoothQuant (α = {alpha:g}): no linear layer has an input whose producer can absorb a factor"
    ),
    "quantize_ptq.pairs_equalized": "{count} pairs of layers equalized",
    "quantize_ptq.ranges_learned": _ranges_learned,
    "quantize_ptq.ranges_not_learned": "{error}; the calibrated ranges are used",
    "quantize_ptq.recover_not_possible": "{error}; the calibrated network is used",
    "quantize_ptq.recovered": _RECOVERED,
    "quantize_ptq.recovery_discarded": (
        f"{_RECOVERED}; its metric is worse than after calibration, which is used instead: try a lower recover.lr or more "
        "epochs"
    ),
    "quantize_ptq.rounding_error": (
        "{subject}: squared output error of a layer {ratio:.0%} of that of nearest rounding (median over layers), on {images} "
        "samples"
    ),
    "quantize_ptq.smooth_not_absorbable": "its input is the result of {operator} {node}, which cannot absorb a factor",
    "quantize_ptq.smooth_other_reader": "its input is also read by {reader}, which is not a linear layer",
    "quantize_ptq.smooth_reads_input": "its input is that of the network, which cannot absorb a factor",
    "quantize_ptq.streams_smoothed": (
        "SmoothQuant (α = {alpha:g}): {layers} convolutions read {streams} smoothed residual streams; the largest range of a "
        "channel ÷ the median range changed from {ratio_before:.3g} to {ratio_after:.3g} (median over streams)"
    ),
    "quantize_ptq.too_few_to_learn_ranges": lambda fact: gettext(
        "{samples} samples in batches of {batch} are too few for training and held-out parts; use {least} or more",
        least=2 * int(str(fact.values["batch"])),
        **fact.values,
    ),
}
SUBJECTS: Sentences = {
    "quantize_ptq.block_not_reconstructed": "brecq of {subject}",
    "quantize_ptq.clip_between_layers": "equalization of {subject}",
    "quantize_ptq.fisher_not_available": "gradients for brecq of {subject}",
    "quantize_ptq.no_bias_to_correct": "bias correction of {subject}",
    "quantize_ptq.smooth_not_absorbable": "SmoothQuant of {subject}",
    "quantize_ptq.smooth_other_reader": "SmoothQuant of {subject}",
    "quantize_ptq.smooth_reads_input": "SmoothQuant of {subject}",
}
