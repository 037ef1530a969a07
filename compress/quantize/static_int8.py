"""Plan of static int8 quantization, from which the file of any runtime is built, with any layers in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends.runner_protocol import Feeds
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.core.progress import NullReporter, Reporter
from compress.core.registry import lookup
from compress.quantize.calibration.activation_aware_ranges import clip_to_activation
from compress.quantize.calibration.observe import observe
from compress.quantize.dynamic.embeddings import quantize_embeddings
from compress.quantize.ptq.pipeline import run_ptq
from compress.quantize.ptq.quantized_weight import QuantizedWeight
from compress.quantize.qdq import placement
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.settings import CalibrationSettings, PTQSettings

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Int8Format:
    """Number format that the targets and this machine require.

    Attributes:
        runtimes: Runtimes to write files for.
        per_channel: One weight scale per output channel.
        symmetric: Zero point of activations is 0; None selects what each runtime prefers.
        seven_bit_weights: Weights have 7 bits, because this CPU saturates sums of int8 products.
    """

    runtimes: tuple[str, ...]
    per_channel: bool = True
    symmetric: bool | None = None
    seven_bit_weights: bool = False


@dataclass(frozen=True, eq=False)
class StaticInt8Plan:
    """Network, weights and ranges from which the files of all runtimes are built.

    Attributes:
        model: Float network after post-training quantization: rescaled, biases corrected.
        ranges: Ranges of activations, by runtime.
        format: Number format.
        bits: Weights have 2^bits levels.
        grids: Quantized weights, by initializer; other weights are rounded to the nearest.
        skipped: Facts on what post-training quantization skipped.
        notes: Facts on what it did.
        rescaled: Float network after the passes, before rounding: the reference of each layer.
    """

    model: ir.Model
    ranges: Mapping[str, Ranges]
    format: Int8Format
    bits: int = 8
    grids: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()
    rescaled: ir.Model | None = None

    def build(self, runtime: str, exclude: tuple[str, ...], spec: NetworkSpec) -> onnx.ModelProto:
        """Build the quantized model for one runtime; embedding tables are int8, except for TensorRT."""
        with_qdq = self.with_qdq(runtime, exclude)
        if runtime != "tensorrt":
            quantize_embeddings(with_qdq, exclude=exclude)
        return self.finish(with_qdq, runtime, spec)

    def finish(self, with_qdq: ir.Model, runtime: str, spec: NetworkSpec) -> onnx.ModelProto:
        """The quantized model for one runtime from a network of `with_qdq`, which is changed."""
        quantized = int8.finish(with_qdq, self._placement(runtime))
        onnx_files.write_metadata(quantized, spec)
        onnx_files.check(quantized)
        return quantized

    def with_qdq(self, runtime: str, exclude: tuple[str, ...]) -> ir.Model:
        """Network with Q/DQ pairs and unshortened names, for training with fake quantization."""
        options = self._options(runtime, exclude)
        return int8.insert_qdq(self.model, self.ranges[runtime], self._placement(runtime), options)

    def _placement(self, runtime: str) -> placement.QDQPlacement:
        return placement.placement_for(self.model, runtime, symmetric=self.format.symmetric)

    def _options(self, runtime: str, exclude: tuple[str, ...]) -> int8.QDQOptions:
        seven_bits = runtime != "tensorrt" and self.format.seven_bit_weights
        return int8.QDQOptions(self.format.per_channel, seven_bits, exclude, self.grids, self.format.symmetric)


def plan_static_int8(
    model: ir.Model,
    batches: Sequence[Feeds],
    number_format: Int8Format,
    calibration: CalibrationSettings,
    ptq: PTQSettings,
    *,
    exclude: tuple[str, ...] = (),
    reporter: Reporter | None = None,
) -> StaticInt8Plan:
    """Run post-training quantization of the weights, then calibrate the ranges of activations.

    Args:
        model: Float network; not changed.
        batches: Calibration inputs by name.
        number_format: Number format that targets and this machine require.
        calibration: How ranges are estimated.
        ptq: Passes, and how weights are rounded.
        exclude: Names of nodes that stay in float.
        reporter: Shows progress bars.
    """
    reporter = reporter or NullReporter()
    bits = min(ptq.weights.bits, 7) if number_format.seven_bit_weights else ptq.weights.bits
    result = run_ptq(model, batches, ptq, bits=bits, per_channel=number_format.per_channel, exclude=exclude, reporter=reporter)
    prepared = result.prepared
    ranges = _calibrate(prepared.model, batches, number_format, calibration, reporter)
    return StaticInt8Plan(
        prepared.model, ranges, number_format, bits, prepared.weights, result.skipped, result.notes, result.rescaled
    )


def _calibrate(
    model: ir.Model,
    batches: Sequence[Feeds],
    number_format: Int8Format,
    calibration: CalibrationSettings,
    reporter: Reporter,
) -> dict[str, Ranges]:
    """Ranges of activations by runtime; a tensor without negative values has twice the levels in unsigned integers."""
    names = placement.activations_to_calibrate(model, number_format.runtimes)
    method = lookup("range", calibration.method)
    observes = method.options.get("observes", "histogram")
    counts, normalized = observes == "histogram", observes == "normalized histogram"
    histograms = observe(model, names, batches, counts=counts, normalized=normalized, reporter=reporter)
    estimate = method.load()
    ranges: dict[str, Ranges] = {}
    for runtime in number_format.runtimes:
        unsigned = placement.placement_for(model, runtime, symmetric=number_format.symmetric).unsigned
        estimated = {
            name: estimate(histogram, levels=256 if unsigned and histogram.low >= 0 else 128, percentile=calibration.percentile)
            for name, histogram in histograms.items()
        }
        ranges[runtime] = clip_to_activation(model, estimated)
    return ranges
