"""Schemes other than static int8: dynamic int8, weight-only and half precision.

| scheme | weights | activations | arithmetic |
|---|---|---|---|
| dynamic_int8 | int8, one scale per channel | uint8, range computed at each run | int8 products of linear layers |
| weight_int8 | int8, one scale per channel | float | float |
| weight_int4 | int4, one scale per `GROUP` inputs of a linear layer, else one per channel | float | float |
| fp16 | float16 | float16 | float16 if the device supports it |
| bf16 | bfloat16 | bfloat16 | bfloat16, sums in float32; see `bfloat16` |
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends.onnx_cleanup import strip
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.quantize.bfloat16 import convert_opset, emulate_bfloat16, to_bfloat16
from compress.quantize.ptq.quantized_weight import round_to_nearest, weight_scales
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, read_weight, weighted_layers
from compress.quantize.target_requirements import Scheme, unsupported_scheme_reason

GROUP = 32
"""Number of inputs that share a scale in int4."""
REFERENCE = "onnxruntime"
INT4_OPSET = 21
"""The first opset with int4 and blockwise scales."""


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
    """

    models: Mapping[str, onnx.ModelProto]
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()


def build_models(
    scheme: Scheme, model: ir.Model, runtimes: Sequence[str], *, per_channel: bool, exclude: Sequence[str] = ()
) -> QuantizedModels:
    """Quantize a network by a scheme other than static int8.

    Args:
        scheme: A key of `SCHEME_RUNTIMES`.
        model: Float network; not changed.
        runtimes: Runtimes to build files for.
        per_channel: One weight scale per output channel, for `dynamic_int8`.
        exclude: Names of nodes that are not quantized.
    """
    if scheme == "bf16":
        bfloat16, skipped = to_bfloat16(model, exclude=exclude)
        models = dict.fromkeys(runtimes, _stripped(bfloat16))
        models[REFERENCE] = _stripped(emulate_bfloat16(model, exclude=exclude))
        return QuantizedModels(models, skipped, (Fact.of("quantize.bfloat16_emulated"),))
    if scheme == "dynamic_int8":
        quantized = dynamic_int8(model, per_channel=per_channel, exclude=exclude)
    elif scheme == "fp16":
        quantized = to_fp16(model, exclude=exclude)
    else:
        quantized = weight_only(model, 4 if scheme == "weight_int4" else 8, exclude=exclude)
    return QuantizedModels(dict.fromkeys(runtimes, _stripped(quantized)))


def _stripped(model: ir.Model) -> onnx.ModelProto:
    strip(model)
    return graphs.to_proto(model)


def weight_only(model: ir.Model, bits: int, *, exclude: Sequence[str] = ()) -> ir.Model:
    """Replace weights by integers followed by DequantizeLinear.

    Args:
        model: Float network; not changed.
        bits: 8 or 4.
        exclude: Names of nodes that are not quantized.
    """
    copy = convert_opset(model, INT4_OPSET) if bits == 4 else model.clone()
    for layer in [layer for layer in weighted_layers(copy) if layer.name not in exclude]:
        _store_integers(copy, layer, bits)
    return copy


def _store_integers(model: ir.Model, layer: WeightedLayer, bits: int) -> None:
    weight = read_weight(model, layer.weight)
    w = layer.to_matrix(weight)
    grouped = bits == 4 and layer.operator in LINEAR and w.shape[2] % GROUP == 0
    if grouped:  # each group of inputs is a row
        rows = w.reshape(1, -1, GROUP)
        s = weight_scales(rows, bits, per_channel=True, search=False)
        q = round_to_nearest(rows, s, bits).reshape(w.shape)
        by_output: np.ndarray = s.reshape(w.shape[1], -1)
        scale: np.ndarray = by_output if layer.axis == 0 else by_output.T
        attributes = {"axis": 1 - layer.axis, "block_size": GROUP}
    else:
        s = weight_scales(w, bits, per_channel=True, search=False)
        q, scale, attributes = round_to_nearest(w, s, bits), s.ravel(), {"axis": layer.axis}
    integers = layer.from_matrix(q, weight)
    if bits == 4:
        integers = integers.astype(ir.DataType.INT4.numpy())
    initializers = [
        graphs.add_initializer(model, f"{layer.weight}_{name}", array)
        for name, array in (("integers", integers), ("scales", scale))
    ]
    dequantize = graphs.make_node("DequantizeLinear", initializers, [layer.weight], "", **attributes)
    model.graph.initializers[layer.weight].replace_all_uses_with(dequantize.outputs[0])
    del model.graph.initializers[layer.weight]
    model.graph.insert_before(model.graph[0], dequantize)


def dynamic_int8(model: ir.Model, *, per_channel: bool, exclude: Sequence[str] = ()) -> ir.Model:
    """Quantize linear layers dynamically: the range of their inputs is computed at each run.

    Convolutions stay in float, because the dynamic integer convolution of ONNX Runtime is slower than its float convolution.

    Args:
        model: Float network; not changed.
        per_channel: One weight scale per output channel.
        exclude: Names of nodes that stay in float.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        quantize_dynamic(
            graphs.to_proto(model),
            path,
            op_types_to_quantize=list(LINEAR),
            per_channel=per_channel,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(exclude),
        )
        return graphs.to_ir(onnx.load(path))


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
