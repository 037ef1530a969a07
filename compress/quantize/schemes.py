"""Schemes other than static int8: dynamic int8, weight-only and half precision.

| scheme | weights | activations | arithmetic |
|---|---|---|---|
| dynamic_int8 | int8, one scale per channel | uint8, range computed at each run | int8 products of linear layers |
| weight_int8 | int8, one scale per channel | float | float |
| weight_int4 | int4, one scale per block of inputs of a linear layer | float | see `matmul_nbits` |
| block_int8 | the same in int8 | float | see `matmul_nbits` |
| fp16 | float16 | float16 | float16 if the device supports it |
| bf16 | bfloat16 | bfloat16 | bfloat16, sums in float32; see `bfloat16` |

The tables of embeddings are int8 in all schemes with integers, and convolutions of `dynamic_int8` stay in float, because the
dynamic integer convolution of ONNX Runtime is slower than its float convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx
import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.onnx_cleanup import strip
from compress.backends.runner_protocol import Feeds
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.core.registry import lookup
from compress.quantize.bfloat16 import emulate_bfloat16, to_bfloat16
from compress.quantize.dynamic.embeddings import quantize_embeddings
from compress.quantize.dynamic.linear_layers import quantize_linear_layers
from compress.quantize.ptq.pipeline import PassResult
from compress.quantize.target_requirements import BLOCK_BITS, Scheme, unsupported_scheme_reason
from compress.quantize.weight_only.awq import scale_inputs
from compress.quantize.weight_only.dequantized import dequantized_weights
from compress.quantize.weight_only.head_and_tables import HeadAndTables
from compress.quantize.weight_only.matmul_nbits import OTHERS, linear_layers, rounded_layers
from compress.quantize.weight_only.round_blocks import BlockOptions, Weights

REFERENCE = "onnxruntime"


def check_runtimes(scheme: Scheme, runtimes: Sequence[str]) -> None:
    """Check that all runtimes support a scheme.

    Raises:
        ConversionError: A runtime does not; the message names those that do.
    """
    if reason := unsupported_scheme_reason(scheme, tuple(runtimes)):
        raise ConversionError(reason)


@dataclass(frozen=True)
class QuantizedModels:
    """Networks quantized by a scheme.

    Attributes:
        models: Network by runtime.
        skipped: Nodes that stay in float, with the reason.
        notes: Notes for the record.
        rescaled: Float network before its weights were rounded, where a scheme rescales it; else None.
    """

    models: Mapping[str, onnx.ModelProto]
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()
    rescaled: ir.Model | None = None


@dataclass(frozen=True)
class SchemeOptions:
    """Options of the schemes; each applies to some.

    Attributes:
        per_channel: One weight scale per output channel, for `dynamic_int8`.
        seven_bits: Weights of `dynamic_int8` have 7 bits, because sums of int8 products saturate on the target.
        block: Inputs that share a scale, for `weight_int4` and `block_int8` in ONNX Runtime.
        symmetric: Zero points of these blocks are in the middle.
        accuracy_level: How their products are computed, see `matmul_nbits`.
        rounding: How these weights are rounded, a name in the registry family `block_rounding`.
        batches: Calibration batches by name of the input, for a rounding that needs data.
        parts: Bits of the output layer and of tables.
        eight_bits: Names of layers with 8 bits in place of 4, for `weight_int4`.
        given: Matrices of these schemes that are rounded already, by initializer and axis of the outputs.
        exclude: Names of nodes that are not quantized.
    """

    per_channel: bool = True
    seven_bits: bool = False
    block: int = 32
    symmetric: bool = False
    accuracy_level: int = 0
    rounding: str = "nearest"
    batches: Sequence[Feeds] = ()
    parts: HeadAndTables = OTHERS
    eight_bits: Sequence[str] = ()
    given: Weights = field(default_factory=dict)
    exclude: Sequence[str] = ()

    def blocks(self, bits: int) -> BlockOptions:
        """How the matrices of a scheme with blocks are rounded."""
        more = dict.fromkeys(self.eight_bits, 8)
        return BlockOptions(bits, self.block, self.symmetric, self.rounding, self.batches, more, given=self.given)


DEFAULT_OPTIONS = SchemeOptions()


def build_models(
    scheme: Scheme, model: ir.Model, runtimes: Sequence[str], options: SchemeOptions = DEFAULT_OPTIONS
) -> QuantizedModels:
    """Quantize a network by a scheme other than static int8.

    Args:
        scheme: A key of `SCHEME_RUNTIMES`.
        model: Float network; not changed.
        runtimes: Runtimes to build files for.
        options: Options of the scheme.
    """
    exclude = options.exclude
    if scheme == "bf16":
        bfloat16, skipped = to_bfloat16(model, exclude=exclude)
        models = dict.fromkeys(runtimes, _stripped(bfloat16))
        models[REFERENCE] = _stripped(emulate_bfloat16(model, exclude=exclude))
        return QuantizedModels(models, skipped, (Fact.of("quantize.bfloat16_emulated"),))
    if scheme == "dynamic_int8":
        quantized = dynamic_int8(model, options)
    elif scheme == "fp16":
        quantized = to_fp16(model, exclude=exclude)
    elif scheme in BLOCK_BITS:
        return _blocks(model, runtimes, BLOCK_BITS[scheme], options)
    else:
        models = {
            runtime: _stripped(dequantized_weights(model, 8, as_product=runtime == "onnxruntime", exclude=exclude))
            for runtime in runtimes
        }
        return QuantizedModels(models)
    return QuantizedModels(dict.fromkeys(runtimes, _stripped(quantized)))


def _blocks(model: ir.Model, runtimes: Sequence[str], bits: int, options: SchemeOptions) -> QuantizedModels:
    """Integer weights in blocks; behind a rescaling of inputs where the rounding has one."""
    exclude = options.exclude
    blocks = options.blocks(bits)
    rescaled = PassResult(model)
    if lookup("block_rounding", options.rounding).options.get("rescales"):
        shared = [layer.name for layer in options.parts.tied(model, linear_layers(model), bits).values()]
        rescaled = scale_inputs(model, blocks, (*exclude, *shared))
    network = rescaled.model
    for each, others in ((bits, options.eight_bits), (8, ())) if options.eight_bits else ((bits, ()),):
        network = dequantized_weights(network, each, operators=("Conv",), exclude=(*exclude, *others), tables=False)
    result = rounded_layers(network, blocks, accuracy_level=options.accuracy_level, exclude=exclude, parts=options.parts)
    networks = dict.fromkeys(runtimes, _stripped(result.model))
    return QuantizedModels(networks, rescaled.skipped, (*rescaled.notes, *result.notes), rescaled.model)


@dataclass(frozen=True, eq=False)
class DynamicInt8Plan:
    """Builds dynamic int8 networks with any layers in float, for the search for mixed precision.

    Attributes:
        model: Float network.
        options: Options; further layers are excluded.
    """

    model: ir.Model
    options: SchemeOptions = DEFAULT_OPTIONS

    def build(self, runtime: str, exclude: tuple[str, ...], spec: NetworkSpec) -> onnx.ModelProto:  # noqa: ARG002
        """Build the network; all runtimes have the same."""
        quantized = _stripped(dynamic_int8(self.model, replace(self.options, exclude=exclude)))
        onnx_files.write_metadata(quantized, spec)
        return quantized


def dynamic_int8(model: ir.Model, options: SchemeOptions = DEFAULT_OPTIONS) -> ir.Model:
    """Quantize linear layers dynamically and embedding tables to int8; the network is not changed."""
    copy = model.clone()
    bits = 7 if options.seven_bits else 8
    quantize_linear_layers(copy, bits=bits, per_channel=options.per_channel, exclude=options.exclude)
    quantize_embeddings(copy, layer_bits=bits, exclude=options.exclude)
    return copy


def _stripped(model: ir.Model) -> onnx.ModelProto:
    strip(model)
    return graphs.to_proto(model)


def to_fp16(model: ir.Model, *, exclude: Sequence[str] = ()) -> ir.Model:
    """Convert a network to float16, inputs and outputs stay float32; constants outside the range of float16 are clipped.

    Args:
        model: Float network; not changed.
        exclude: Names of nodes that stay in float32.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = graphs.to_proto(model)
    half = convert_float_to_float16(proto, keep_io_types=True, node_block_list=list(exclude))
    return graphs.to_ir(half)  # sorts the nodes: the converter puts the Casts of inputs after their readers
