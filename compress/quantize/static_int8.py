"""Static int8 of one network, ready to be built for any runtime with any layers left in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.core.record import InputSpec
from compress.core.registry import lookup
from compress.quantize.calibration.activation_aware_ranges import clip_to_activation
from compress.quantize.calibration.observe import observe
from compress.quantize.ptq.pipeline import run_ptq
from compress.quantize.ptq.quantized_weight import QuantizedWeight
from compress.quantize.qdq import placement
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.settings import CalibrationSettings, PTQSettings

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class StaticInt8Plan:
    """What the files for all runtimes are built from.

    Attributes:
        model: Float network after post-training quantization: rescaled, biases corrected.
        ranges: Of activations, by runtime.
        per_channel: One weight scale per output channel.
        seven_bit_weights: This CPU needs weights of 7 bits.
        symmetric: Zero point of activations is 0; None lets each runtime say.
        grids: Quantized weights, by initializer; other weights are rounded to the nearest.
        skipped: What post-training quantization left alone.
        notes: What it did.
        rescaled: The float network after the passes, before rounding: the reference of each layer.
    """

    model: onnx.ModelProto
    ranges: Mapping[str, Ranges]
    per_channel: bool
    seven_bit_weights: bool
    symmetric: bool | None = None
    grids: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()
    rescaled: onnx.ModelProto | None = None

    def build(self, runtime: str, exclude: tuple[str, ...], spec: InputSpec) -> onnx.ModelProto:
        """The file for one runtime."""
        quantized = int8.quantize_static(self.model, self.ranges[runtime], runtime, **self._options(runtime, exclude))
        graphs.write_metadata(quantized, spec)
        graphs.check(quantized)
        return quantized

    def with_qdq(self, runtime: str, exclude: tuple[str, ...]) -> onnx.ModelProto:
        """The same before names are shortened, for training with fake quantization."""
        return int8.insert_qdq(self.model, self.ranges[runtime], runtime, **self._options(runtime, exclude))[0]

    def _options(self, runtime: str, exclude: tuple[str, ...]) -> dict[str, Any]:
        return {
            "per_channel": self.per_channel,
            "reduce_range": runtime != "tensorrt" and self.seven_bit_weights,
            "exclude": exclude,
            "grids": self.grids,
            "symmetric": self.symmetric,
        }


def plan_static_int8(  # ten parameters: independent choices of the recipe, of the targets and of this machine
    model: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    runtimes: tuple[str, ...],
    calibration: CalibrationSettings,
    ptq: PTQSettings,
    *,
    per_channel: bool,
    symmetric: bool | None,
    seven_bit_weights: bool,
    exclude: tuple[str, ...],
    reporter: Reporter,
) -> StaticInt8Plan:
    """Run post-training quantization of the weights, then calibrate the ranges of activations.

    Args:
        model: Float network.
        batches: Calibration inputs.
        runtimes: Runtimes to write files for.
        calibration: How ranges are estimated.
        ptq: The passes and how weights are rounded.
        per_channel: One weight scale per output channel.
        symmetric: As in `StaticInt8Plan`.
        seven_bit_weights: Likewise.
        exclude: Names of nodes that stay in float.
        reporter: Shows progress.
    """
    bits = min(ptq.weights.bits, 7) if seven_bit_weights else ptq.weights.bits
    result = run_ptq(graphs.to_ir(model), batches, ptq, bits=bits, per_channel=per_channel, exclude=exclude, reporter=reporter)
    prepared = result.prepared
    ranges = _calibrate(prepared.model, batches, runtimes, calibration, symmetric, reporter)
    return StaticInt8Plan(
        graphs.to_proto(prepared.model), ranges, per_channel, seven_bit_weights, symmetric, prepared.weights,
        result.skipped, result.notes, graphs.to_proto(result.rescaled),
    )  # fmt: skip


def _calibrate(
    model: ir.Model,
    batches: Sequence[np.ndarray],
    runtimes: tuple[str, ...],
    calibration: CalibrationSettings,
    symmetric: bool | None,
    reporter: Reporter,
) -> dict[str, Ranges]:
    """Range of each activation, by runtime: unsigned integers have twice the levels for a tensor that is never negative."""
    proto = graphs.to_proto(model)
    names = placement.activations_to_calibrate(proto, runtimes)
    method = lookup("range", calibration.method)
    observes = method.options.get("observes", "histogram")
    counts, normalized = observes == "histogram", observes == "normalized histogram"
    histograms = observe(model, names, batches, counts=counts, normalized=normalized, reporter=reporter)
    estimate = method.load()
    ranges: dict[str, Ranges] = {}
    for runtime in runtimes:
        unsigned = placement.placement_for(proto, runtime, symmetric=symmetric).unsigned
        estimated = {
            name: estimate(histogram, levels=256 if unsigned and histogram.low >= 0 else 128, percentile=calibration.percentile)
            for name, histogram in histograms.items()
        }
        ranges[runtime] = clip_to_activation(model, estimated)
    return ranges
