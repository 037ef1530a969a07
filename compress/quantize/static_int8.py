"""Static int8 of one network, ready to be written for any runtime family with any layers left in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from compress.backends import onnx_graph as graphs
from compress.core.progress import Reporter
from compress.core.record import InputSpec, Skipped
from compress.core.registry import lookup
from compress.quantize.calibration import observe as calibrate
from compress.quantize.calibration.activation_aware_ranges import clip_to_activation
from compress.quantize.ptq import block_reconstruction as blockwise
from compress.quantize.ptq import pipeline as ladder
from compress.quantize.ptq.quantized_weight import QuantizedWeight
from compress.quantize.ptq.smoothquant import WHAT, smooth_linear_inputs
from compress.quantize.ptq.smoothquant_residual import smooth_residual_streams
from compress.quantize.qdq import placement
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.settings import CalibrationSettings, PTQSettings

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class StaticInt8Plan:
    """What all families' files are made from.

    Attributes:
        model: Float network after the ladder.
        ranges: Of activations, by family.
        per_channel: One weight step for each output channel.
        seven_bit_weights: This CPU's runtime wants weights of 7 bits.
        symmetric: Zero point of activations is 0; None lets each runtime say.
        grids: Integers chosen before.
        skipped: What the ladder left alone.
        notes: What it did.
        rescaled: The float network with its channels as the ladder rescaled them, nothing rounded: what each layer is to give.
    """

    model: onnx.ModelProto
    ranges: Mapping[str, Ranges]
    per_channel: bool
    seven_bit_weights: bool
    symmetric: bool | None = None
    grids: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    rescaled: onnx.ModelProto | None = None

    def build(self, family: str, exclude: tuple[str, ...], spec: InputSpec) -> onnx.ModelProto:
        """The file of one family."""
        made = int8.quantize_static(self.model, self.ranges[family], family, **self._options(family, exclude))
        graphs.write_metadata(made, spec)
        graphs.check(made)
        return made

    def with_qdq(self, family: str, exclude: tuple[str, ...]) -> onnx.ModelProto:
        """The same before names are shortened, for training in its place."""
        return int8.insert_qdq(self.model, self.ranges[family], family, **self._options(family, exclude))[0]

    def _options(self, family: str, exclude: tuple[str, ...]) -> dict[str, Any]:
        return {
            "per_channel": self.per_channel,
            "reduce_range": family != "tensorrt" and self.seven_bit_weights,
            "exclude": exclude,
            "grids": self.grids,
            "symmetric": self.symmetric,
        }


def plan_static_int8(
    model: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    families: tuple[str, ...],
    calibration: CalibrationSettings,
    steps: PTQSettings,
    *,
    per_channel: bool,
    symmetric: bool | None,
    seven_bit_weights: bool,
    exclude: tuple[str, ...],
    reporter: Reporter,
) -> StaticInt8Plan:
    """Climb the ladder, then find ranges.

    Args:
        model: Float network.
        batches: Calibration inputs.
        families: To make files for.
        calibration: How ranges are found.
        steps: What is done before.
        per_channel: One weight step for each output channel.
        symmetric: As in `StaticInt8Plan`.
        seven_bit_weights: Likewise.
        exclude: Names of nodes that stay in float.
        reporter: Shows bars.
    """
    done = ladder.PreparedModel(model)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    if steps.equalize:
        done = ladder.equalize_model(done.model, batches)
        skipped, notes = done.skipped, done.notes
    if steps.smooth is not None:
        found, left, note = smooth_linear_inputs(done.model, batches, steps.smooth, exclude=exclude, reporter=reporter)
        found, through, streamed = smooth_residual_streams(found, batches, steps.smooth, exclude=exclude, reporter=reporter)
        left = tuple(skip for skip in left if skip.what.removeprefix(WHAT) not in through)
        done, skipped, notes = ladder.PreparedModel(found), (*skipped, *left), (*notes, note, *[streamed] * bool(streamed))
    rescaled = done.model
    weights = steps.weights
    if weights.rounding == "brecq":
        done = blockwise.round_by_blocks(
            done.model,
            batches,
            bits=min(weights.bits, 7) if seven_bit_weights else weights.bits,
            per_channel=per_channel,
            search=weights.range == "mse",
            iterations=weights.iterations,
            exclude=exclude,
            reporter=reporter,
        )
        skipped, notes = (*skipped, *done.skipped), (*notes, *done.notes)
    elif (weights.bits, weights.range, weights.rounding, steps.bias_correction) != (8, "minmax", "nearest", "none"):
        done = ladder.round_weights(
            done.model,
            batches,
            bits=min(weights.bits, 7) if seven_bit_weights else weights.bits,
            per_channel=per_channel,
            search=weights.range == "mse",
            rounding=weights.rounding,
            iterations=weights.iterations,
            correction=steps.bias_correction,
            exclude=exclude,
            reporter=reporter,
        )
        skipped, notes = (*skipped, *done.skipped), (*notes, *done.notes)
    ranges = _ranges(done.model, batches, families, calibration, symmetric, reporter)
    return StaticInt8Plan(done.model, ranges, per_channel, seven_bit_weights, symmetric, done.grids, skipped, notes, rescaled)


def _ranges(
    model: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    families: tuple[str, ...],
    calibration: CalibrationSettings,
    symmetric: bool | None,
    reporter: Reporter,
) -> dict[str, Ranges]:
    """Range of each activation, by family: unsigned integers have twice the levels for what is never negative."""
    names = placement.activations_to_calibrate(model, families)
    estimator = lookup("range", calibration.method)
    observes = estimator.options.get("observes", "histogram")
    counts, relative = observes == "histogram", observes == "normalized histogram"
    seen = calibrate.observe(model, names, batches, counts=counts, relative=relative, reporter=reporter)
    range_of = estimator.load()
    found: dict[str, Ranges] = {}
    for family in families:
        unsigned = placement.placement_for(model, family, symmetric=symmetric).unsigned
        own = {
            name: range_of(one, levels=256 if unsigned and one.low >= 0 else 128, percentile=calibration.percentile)
            for name, one in seen.items()
        }
        found[family] = clip_to_activation(model, own)
    return found
