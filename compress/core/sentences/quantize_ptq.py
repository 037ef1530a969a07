"""Sentences of post-training quantization, of learned ranges and of training with fake quantization."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.sentences.table import Sentences

_RECOVERED = (
    "recovered with fake quantization where {subject} has it: {bits}-bit weights, scales {scales}, best after epoch "
    "{best_epoch} of {epochs}"
)
_RANGES_LEARNED = (
    "ranges and biases learned together, {epochs} {unit} over {samples} samples: signal to noise of the outputs "
    "{before_db:.1f} dB before and {after_db:.1f} dB after, on {held_out} others"
)


def _ranges_learned(fact: Fact) -> str:
    return _RANGES_LEARNED.format(**fact.values, unit="epoch" if fact.values["epochs"] == 1 else "epochs")


SENTENCES: Sentences = {
    "quantize_ptq.block_error": (
        "{subject}: error of a block's output at {ratio:.0%} of nearest rounding's (median over {blocks} blocks, learned from "
        "{samples} samples or more)"
    ),
    "quantize_ptq.block_not_reconstructed": "{error}; its layers are rounded one by one by adaround",
    "quantize_ptq.clip_between_layers": (
        "a clip stands between, which a factor cannot be moved through; a network that is trained with ReLU instead of ReLU6 "
        "can be equalized (stage `substitute` with activations: relu, where HardSwish or SiLU is replaced)"
    ),
    "quantize_ptq.fisher_not_available": "{error}; all outputs have the same weight",
    "quantize_ptq.frozen_layers_not_trained": (
        "recovery left the weights of {count} layers as they were: they are frozen in the network (requires_grad=False)"
    ),
    "quantize_ptq.learned_ranges_discarded": lambda fact: f"{_ranges_learned(fact)}; they stay as they were calibrated",
    "quantize_ptq.linear_inputs_smoothed": (
        "SmoothQuant (α = {alpha:g}): {layers} linear layers read smoothed activations; a channel's range over the median "
        "channel's went from {ratio_before:.3g} to {ratio_after:.3g} (largest of a layer, median over layers)"
    ),
    "quantize_ptq.no_bias_to_correct": "it has no bias of its own to put the correction into",
    "quantize_ptq.no_pairs_to_equalize": "no two layers stand next to each other with nothing or a ReLU between",
    "quantize_ptq.nothing_to_smooth": "SmoothQuant (α = {alpha:g}): no linear layer reads what a factor can be moved into",
    "quantize_ptq.pairs_equalized": "{count} pairs of layers equalized",
    "quantize_ptq.ranges_learned": _ranges_learned,
    "quantize_ptq.ranges_not_learned": "{error}; ranges stay as they were calibrated",
    "quantize_ptq.recover_not_possible": "{error}; the network stays as it was calibrated",
    "quantize_ptq.recovered": _RECOVERED,
    "quantize_ptq.recovery_discarded": (
        f"{_RECOVERED}; its metric is worse than after calibration alone, which is used instead: try a lower recover.lr or "
        "more epochs"
    ),
    "quantize_ptq.rounding_error": (
        "{subject}: squared output error of a layer at {ratio:.0%} of nearest rounding's (median over layers); learned from "
        "{images} samples"
    ),
    "quantize_ptq.smooth_not_absorbable": "it reads the result of {operator} {node}, which no factor can be moved into",
    "quantize_ptq.smooth_other_reader": "what it reads is also read by {reader}, which is not a linear layer",
    "quantize_ptq.smooth_reads_input": "it reads the network's input, which no factor can be moved into",
    "quantize_ptq.streams_smoothed": (
        "SmoothQuant (α = {alpha:g}): {layers} convolutional layers read {streams} smoothed streams; a channel's range over "
        "the median channel's went from {ratio_before:.3g} to {ratio_after:.3g} (largest, median over streams)"
    ),
    "quantize_ptq.too_few_to_learn_ranges": lambda fact: (
        f"{fact.values['samples']} samples in batches of {fact.values['batch']} cannot be both learned from and held out; "
        f"give {2 * int(str(fact.values['batch']))} or more"
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
