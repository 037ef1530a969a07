"""Static int8 of an ONNX network: Q/DQ pairs where a runtime wants them, weights stored as int8.

    q = clip(round(x / s) + z),   x ≈ s (q − z)

Weights are signed and symmetric (z = 0), one scale s for each output channel; activations have one scale each, from a
calibrated range. Jacob et al. 2018, arXiv:1712.05877; Wu et al. 2020, arXiv:2004.09602. The graph work is ONNX Runtime's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime.quantization
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

from compress.backends import onnx_cleanup
from compress.backends.onnx_graph import to_ir
from compress.core.fact import Fact
from compress.quantize.analysis.float_fallback import INTEGER
from compress.quantize.ptq.quantized_weight import QuantizedWeight, write_back
from compress.quantize.ptq.weighted_layers import weighted_layers
from compress.quantize.qdq.keep_float_weights import block_weight_quantization
from compress.quantize.qdq.placement import WEIGHTED, WITHOUT_KERNEL, QDQPlacement, add_implied_ranges, placement_for
from compress.quantize.qdq.rewrite_hardswish import decompose_hardswish, hardsigmoid_to_qadd, original_node_name
from compress.quantize.qdq.rewrite_pooling import quantize_before_maxpool

Ranges = Mapping[str, tuple[float, float]]
QUANTIZER_FOLDER = Path(onnxruntime.quantization.__file__).parent
FLOAT_REASONS = frozenset(
    {"quantize.float_activation_product", "quantize.float_by_keep_float", "quantize.float_by_mixed_precision",
     "quantize.float_left_by_quantizer", "quantize.float_no_kernel"}
)  # fmt: skip
"""Codes of the facts of `float_layers` that say why a node computes in float."""


def quantize_static(
    model: onnx.ModelProto,
    ranges: Ranges,
    runtime: str,
    *,
    per_channel: bool,
    reduce_range: bool,
    exclude: tuple[str, ...] = (),
    grids: Mapping[str, QuantizedWeight] | None = None,
    symmetric: bool | None = None,
) -> onnx.ModelProto:
    """The int8 network for one runtime; `model` is not changed.

    Args:
        model: Float network, batch norm folded.
        ranges: Lowest and highest value by activation tensor.
        runtime: A key of `placement.PLACEMENTS`.
        per_channel: One weight scale for each output channel; otherwise one for each tensor.
        reduce_range: 7-bit weights: x86 without VNNI adds pairs of products in 16 bits, which saturate with 8.
        exclude: Names of nodes to keep in float.
        grids: Weights that are already quantized, by initializer; the others are rounded to the nearest.
        symmetric: Activations around 0 or not; None as the runtime prefers.
    """
    quantized, placement = insert_qdq(
        model,
        ranges,
        runtime,
        per_channel=per_channel,
        reduce_range=reduce_range,
        exclude=exclude,
        grids=grids,
        symmetric=symmetric,
    )
    _finish(quantized, placement)
    return quantized


def insert_qdq(
    model: onnx.ModelProto,
    ranges: Ranges,
    runtime: str,
    *,
    per_channel: bool,
    reduce_range: bool,
    exclude: tuple[str, ...] = (),
    grids: Mapping[str, QuantizedWeight] | None = None,
    symmetric: bool | None = None,
) -> tuple[onnx.ModelProto, QDQPlacement]:
    """The network with Q/DQ pairs, every tensor still under its name; arguments as of `quantize_static`."""
    placement = placement_for(model, runtime, symmetric=symmetric)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if placement.integer_hardswish:
        decompose_hardswish(copy)
    options = {
        "ActivationSymmetric": not placement.unsigned,
        "WeightSymmetric": True,
        "QuantizeBias": False,  # runtimes quantize it themselves with scale s_x s_w, which needs no bytes: see _quantize_biases
        "OpTypesToExcludeOutputQuantization": list(placement.float_outputs),
        "TensorQuantOverrides": _overrides(model, ranges, placement),
    }
    with _without_advice():
        quantizer = QDQQuantizer(
            copy,
            per_channel,
            reduce_range,
            QuantType.QInt8,
            QuantType.QUInt8 if placement.unsigned else QuantType.QInt8,
            _as_tensors_data(add_implied_ranges(copy, dict(ranges))),
            [],
            [*_with_split_nodes(copy, exclude), *(() if placement.products else _computed_products(model))],
            list(placement.operators),
            options,
        )
        quantized: onnx.ModelProto = quantizer.quantize_model()
        quantizer.model.topological_sort()
    if grids:
        write_back(quantized, grids, {layer.weight: layer for layer in weighted_layers(to_ir(model))})
    _free_outputs(quantized.graph)
    return quantized, placement


def _finish(model: onnx.ModelProto, placement: QDQPlacement) -> None:
    """Rewrites after which tensors no longer bear their original names, in place."""
    if placement.integer_hardswish:
        hardsigmoid_to_qadd(model)
    if placement.quantize_before_pool:
        quantize_before_maxpool(model.graph)
    if placement.batch is not None:
        fix_batch(model, placement.batch)
    if placement.unsigned:
        _quantize_biases(model.graph)
    if placement.block_weight_quantization:
        block_weight_quantization(model)
    onnx_cleanup.strip(model)
    onnx_cleanup.shorten_names(model.graph)


def _overrides(model: onnx.ModelProto, ranges: Ranges, placement: QDQPlacement) -> dict[str, list[dict[str, object]]]:
    """Tensors of another integer type than the rest: inputs with negative values around 0, results of softmax unsigned."""
    overrides: dict[str, list[dict[str, object]]] = {}
    if placement.signed_input:
        negative = [value.name for value in model.graph.input if value.name in ranges and ranges[value.name][0] < 0]
        overrides |= {name: [{"quant_type": QuantType.QInt8, "symmetric": True}] for name in negative}
    if placement.products and not placement.unsigned:
        probabilities = [node.output[0] for node in model.graph.node if node.op_type == "Softmax" and node.output[0] in ranges]
        overrides |= {name: [{"quant_type": QuantType.QUInt8, "symmetric": False}] for name in probabilities}
    return overrides


def fix_batch(model: onnx.ModelProto, batch: int) -> None:
    """Fix the free first dimension of inputs and outputs, in place."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch


def _with_split_nodes(model: onnx.ModelProto, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of nodes, and of those that they were split into."""
    return tuple(node.name for node in model.graph.node if original_node_name(node.name) in names)


def _free_outputs(graph: onnx.GraphProto) -> None:
    """Remove the Q/DQ pair from the network's outputs, because 8-bit logits tie."""
    producer_of = {node.output[0]: node for node in graph.node}
    for value in graph.output:
        dequantize = producer_of[value.name]
        quantize = producer_of.get(dequantize.input[0]) if dequantize.op_type == "DequantizeLinear" else None
        origin = producer_of.get(quantize.input[0]) if quantize is not None and quantize.op_type == "QuantizeLinear" else None
        if quantize is None or origin is None or sum(quantize.input[0] in node.input for node in graph.node) != 1:
            continue
        graph.node.remove(dequantize)
        graph.node.remove(quantize)
        origin.output[0] = value.name


def _quantize_biases(graph: onnx.GraphProto) -> None:
    """Store biases of matrix products with a float result as int32, b ≈ s_x s_w q.

    ONNX Runtime quantizes biases itself only where the result is quantized; elsewhere it would fall back to float arithmetic.
    A bias stays in float where s_x s_w underflows in float32 or b / (s_x s_w) exceeds int32.
    """
    values = {tensor.name: tensor for tensor in graph.initializer}
    producer_of = {node.output[0]: node for node in graph.node}
    quantized_next = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in [node for node in graph.node if node.op_type == "Gemm" and len(node.input) == 3]:
        inputs = [producer_of.get(name) for name in node.input[:2]]
        if node.output[0] in quantized_next or any(source is None or source.op_type != "DequantizeLinear" for source in inputs):
            continue
        s_x, s_w = (onnx.numpy_helper.to_array(values[source.input[1]]) for source in inputs if source is not None)
        bias = onnx.numpy_helper.to_array(values[node.input[2]])
        scale = np.broadcast_to(s_x * s_w, bias.shape).astype(np.float32)
        magnitude = np.abs(bias.astype(np.float64))
        if (scale < np.finfo(np.float32).tiny).any() or (magnitude > np.iinfo(np.int32).max * scale.astype(np.float64)).any():
            continue
        q = np.rint(bias.astype(np.float64) / scale).astype(np.int32)
        names = [f"{node.output[0]}_bias_{part}" for part in ("q", "scale", "float")]
        graph.initializer.extend([onnx.numpy_helper.from_array(q, names[0]), onnx.numpy_helper.from_array(scale, names[1])])
        graph.node.insert(list(graph.node).index(node), onnx.helper.make_node("DequantizeLinear", names[:2], names[2:], axis=0))
        node.input[2] = names[2]


def _computed_products(model: onnx.ModelProto) -> tuple[str, ...]:
    """Matrix products of two activations, such as attention's: no weight to store, and the softmax after them is sensitive."""
    constant = {tensor.name for tensor in model.graph.initializer}
    return tuple(node.name for node in model.graph.node if node.op_type == "MatMul" and not constant & set(node.input))


def _as_tensors_data(ranges: Ranges) -> TensorsData:
    """Ranges as the quantizer takes them; zero is always inside, because padding and ReLU produce it."""
    data = {
        name: TensorData(lowest=np.float32(min(low, 0.0)), highest=np.float32(max(high, 0.0)))
        for name, (low, high) in ranges.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


class _QuantizerAdvice(logging.Filter):
    """Drops the quantizer's advice on preprocessing, which is done before. It logs through the root logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be shown."""
        return record.levelno >= logging.ERROR or QUANTIZER_FOLDER not in Path(record.pathname).parents


@contextmanager
def _without_advice() -> Iterator[None]:
    advice = _QuantizerAdvice()
    logging.getLogger().addFilter(advice)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(advice)


def float_layers(
    model: onnx.ModelProto, runtime: str, excluded: tuple[str, ...], mixed_precision: tuple[str, ...] = ()
) -> tuple[Fact, ...]:
    """Why operators with weights run in float in a quantized network, and which `keep_float` had no effect.

    Args:
        model: Result of `quantize_static`.
        runtime: That it was built for.
        excluded: Names of nodes that `keep_float` names.
        mixed_precision: Names of nodes that mixed precision left in float.
    """
    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    producer = {name: node.op_type for node in graph.node for name in node.output}
    from_constant = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constant}
    facts = []
    for node in graph.node:
        if node.op_type not in WEIGHTED or all(producer.get(name) == "DequantizeLinear" for name in node.input[:2]):
            continue
        values = {"operator": node.op_type, "runtime": runtime}
        if node.name in excluded:
            fact = Fact.of("quantize.float_by_keep_float", node.name, **values)
        elif node.name in mixed_precision:
            fact = Fact.of("quantize.float_by_mixed_precision", node.name, **values)
        elif node.op_type in WITHOUT_KERNEL["onnxruntime"]:
            fact = Fact.of("quantize.float_no_kernel", node.name, **values)
        elif node.op_type == "MatMul" and not (constant | from_constant) & set(node.input):
            fact = Fact.of("quantize.float_activation_product", node.name, **values)
        else:
            fact = Fact.of("quantize.float_left_by_quantizer", node.name, **values)
        facts.append(fact)
    return (*facts, *_keep_float_without_effect(model, runtime, excluded))


def _keep_float_without_effect(model: onnx.ModelProto, runtime: str, excluded: tuple[str, ...]) -> Iterator[Fact]:
    """Operators without weights that ONNX Runtime computes in int8 although `keep_float` names them."""
    producer = {name: node.op_type for node in model.graph.node for name in node.output}
    quantized = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    constant = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name not in excluded or node.op_type in WEIGHTED or node.op_type not in INTEGER:
            continue
        computed = [name for name in node.input if name not in constant]
        if all(producer.get(name) == "DequantizeLinear" for name in computed) and node.output[0] in quantized:
            yield Fact.of("quantize.keep_float_without_effect", node.name, operator=node.op_type, runtime=runtime)
