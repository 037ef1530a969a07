"""Static int8 of an ONNX network: Q/DQ pairs where a runtime wants them, weights stored as int8.

    q = clip(round(x / s) + z),   x ≈ s (q − z)

Weights are signed and symmetric (z = 0), one scale s for each output channel; activations have one scale each, from a
calibrated range. Jacob et al. 2018, arXiv:1712.05877; Wu et al. 2020, arXiv:2004.09602. The graph work is ONNX Runtime's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime.quantization
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

from compress.backends import onnx_graph as graphs
from compress.backends.onnx_cleanup import shorten_names, strip
from compress.core.fact import Fact
from compress.quantize.analysis.float_fallback import INTEGER, is_dequantized, is_quantized_weight
from compress.quantize.ptq.quantized_weight import QuantizedWeight, write_back
from compress.quantize.ptq.weighted_layers import weighted_layers
from compress.quantize.qdq.bias_scales import fit_scales_to_biases
from compress.quantize.qdq.keep_float_weights import block_weight_quantization
from compress.quantize.qdq.placement import WEIGHTED, WITHOUT_KERNEL, QDQPlacement, add_implied_ranges, placement_for
from compress.quantize.qdq.rewrite_hardswish import decompose_hardswish, hardsigmoid_to_qadd, original_node_name
from compress.quantize.qdq.rewrite_pooling import quantize_before_maxpool

Ranges = Mapping[str, tuple[float, float]]
QUANTIZER_FOLDER = Path(onnxruntime.quantization.__file__).parent
SMALLEST_RANGE = 256 * float(np.finfo(np.float32).tiny)
"""The quantizer gives a tensor with a smaller range the scale 1."""
FLOAT_REASONS = frozenset(
    {"quantize.float_activation_product", "quantize.float_by_keep_float", "quantize.float_by_mixed_precision",
     "quantize.float_left_by_quantizer", "quantize.float_no_kernel"}
)  # fmt: skip
"""Codes of the facts of `float_layers` that say why a node computes in float."""


@dataclass(frozen=True, eq=False)
class QDQOptions:
    """How a network is quantized for one runtime.

    Attributes:
        per_channel: One weight scale for each output channel; otherwise one for each tensor.
        reduce_range: 7-bit weights: x86 without VNNI adds pairs of products in 16 bits, which saturate with 8.
        exclude: Names of nodes to keep in float.
        grids: Weights that are already quantized, by initializer; the others are rounded to the nearest.
        symmetric: Activations around 0 or not; None as the runtime prefers.
    """

    per_channel: bool = True
    reduce_range: bool = False
    exclude: tuple[str, ...] = ()
    grids: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    symmetric: bool | None = None


def quantize_static(model: ir.Model, ranges: Ranges, runtime: str, options: QDQOptions | None = None) -> onnx.ModelProto:
    """The int8 network for one runtime; `model` is not changed.

    Args:
        model: Float network, batch norm folded.
        ranges: Lowest and highest value by activation tensor.
        runtime: A key of `placement.PLACEMENTS`.
        options: `QDQOptions()` where None.
    """
    options = options or QDQOptions()
    placement = placement_for(model, runtime, symmetric=options.symmetric)
    return _finish(insert_qdq(model, ranges, placement, options), placement)


def insert_qdq(model: ir.Model, ranges: Ranges, placement: QDQPlacement, options: QDQOptions) -> ir.Model:
    """The network with Q/DQ pairs, every tensor still under its name; arguments as of `quantize_static`."""
    copy = model.clone()
    if placement.integer_hardswish:
        decompose_hardswish(copy)
    ranges = add_implied_ranges(copy, ranges)
    settings = {
        "ActivationSymmetric": not placement.unsigned,
        "WeightSymmetric": True,
        "QuantizeBias": False,  # runtimes quantize it themselves with scale s_x s_w, which needs no bytes: see _quantize_biases
        "OpTypesToExcludeOutputQuantization": list(placement.float_outputs),
        "TensorQuantOverrides": _overrides(model, ranges, placement),
    }
    with _without_advice():
        quantizer = QDQQuantizer(
            graphs.to_proto(copy),
            options.per_channel,
            options.reduce_range,
            QuantType.QInt8,
            QuantType.QUInt8 if placement.unsigned else QuantType.QInt8,
            _as_tensors_data(ranges),
            [],
            [*_with_split_nodes(copy, options.exclude), *(() if placement.products else _computed_products(model))],
            list(placement.operators),
            settings,
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized = graphs.to_ir(quantizer.model.model)
    write_back(quantized, options.grids, {layer.weight: layer for layer in weighted_layers(model)})
    fit_scales_to_biases(quantized, {name for name, (low, high) in ranges.items() if max(high, -low) < SMALLEST_RANGE})
    _free_outputs(quantized, {str(value.name): value.producer() for value in model.graph.outputs})
    return quantized


def _finish(model: ir.Model, placement: QDQPlacement) -> onnx.ModelProto:
    """Rewrites after which tensors no longer bear their original names."""
    if placement.integer_hardswish:
        hardsigmoid_to_qadd(model)
    if placement.quantize_before_pool:
        quantize_before_maxpool(model)
    if placement.batch is not None:
        fix_batch(model, placement.batch)
    if placement.unsigned:
        _quantize_biases(model)
    if placement.block_weight_quantization:
        block_weight_quantization(model)
    strip(model)
    shorten_names(model)
    return graphs.to_proto(model)


def _overrides(model: ir.Model, ranges: Ranges, placement: QDQPlacement) -> dict[str, list[dict[str, object]]]:
    """Tensors of another integer type than the rest: inputs with negative values around 0, results of softmax unsigned."""
    overrides: dict[str, list[dict[str, object]]] = {}
    if placement.signed_input:
        negative = [str(value.name) for value in model.graph.inputs if ranges.get(str(value.name), (0.0, 0.0))[0] < 0]
        overrides |= {name: [{"quant_type": QuantType.QInt8, "symmetric": True}] for name in negative}
    if placement.products and not placement.unsigned:
        results = [graphs.output_names(node)[0] for node in model.graph if node.op_type == "Softmax"]
        unsigned = {"quant_type": QuantType.QUInt8, "symmetric": False}
        overrides |= {name: [dict(unsigned)] for name in results if name in ranges}
    return overrides


def fix_batch(model: ir.Model, batch: int) -> None:
    """Fix the free first dimension of inputs and outputs, in place."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape:
            value.shape = ir.Shape([batch, *value.shape[1:]])


def _with_split_nodes(model: ir.Model, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of nodes, and of those that they were split into."""
    return tuple(name for node in model.graph if original_node_name(name := str(node.name)) in names)


def _free_outputs(model: ir.Model, producers: Mapping[str, ir.Node | None]) -> None:
    """Remove the Q/DQ pair from the network's outputs, because 8-bit logits tie.

    It stays where it replaces the ReLU or Clip that produced the output in the float network, by `producers`.
    """
    graph = model.graph
    for index, value in enumerate(graph.outputs):
        dequantize = value.producer()
        integers = dequantize.inputs[0] if dequantize is not None and dequantize.op_type == "DequantizeLinear" else None
        quantize = None if integers is None else integers.producer()
        exact = quantize.inputs[0] if quantize is not None and quantize.op_type == "QuantizeLinear" else None
        if integers is None or exact is None or exact.producer() is None or len(integers.uses()) != 1 or value.uses():
            continue
        producer = producers.get(str(value.name))
        made_by = exact.producer()
        if producer is not None and producer.op_type in ("Relu", "Clip") and made_by and made_by.op_type != producer.op_type:
            continue
        exact.type, exact.shape = value.type, value.shape
        graph.outputs[index] = exact
        graph.remove([node for node in (dequantize, quantize) if node is not None], safe=True)
        exact.name = value.name


def _quantize_biases(model: ir.Model) -> None:
    """Store biases of matrix products with a float result as int32, b ≈ s_x s_w q.

    ONNX Runtime quantizes biases itself only where the result is quantized; elsewhere it would fall back to float arithmetic.
    A bias stays in float where s_x s_w underflows in float32 or b / (s_x s_w) exceeds int32.
    """
    for node in [node for node in model.graph if node.op_type == "Gemm" and len(node.inputs) == 3]:
        bias = graphs.constant(node.inputs[2])
        sources = [value.producer() for value in node.inputs[:2] if value is not None and is_dequantized(value)]
        if bias is None or len(sources) != 2 or any(user.op_type == "QuantizeLinear" for user in node.outputs[0].consumers()):
            continue
        s_x, s_w = (np.asarray(graphs.constant(source.inputs[1])) for source in sources if source is not None)
        scale = np.broadcast_to(s_x * s_w, bias.shape).astype(np.float32)
        magnitude = np.abs(bias.astype(np.float64))
        if (scale < np.finfo(np.float32).tiny).any() or (magnitude > np.iinfo(np.int32).max * scale.astype(np.float64)).any():
            continue
        q = np.rint(bias.astype(np.float64) / scale).astype(np.int32)
        name = f"{node.outputs[0].name}_bias"
        stored = [graphs.add_initializer(model, f"{name}_{part}", array) for part, array in (("q", q), ("scale", scale))]
        dequantize = graphs.make_node("DequantizeLinear", stored, [f"{name}_float"], axis=0)
        model.graph.insert_before(node, dequantize)
        node.replace_input_with(2, dequantize.outputs[0])


def _computed_products(model: ir.Model) -> tuple[str, ...]:
    """Matrix products of two activations, such as attention's: no weight to store, and the softmax after them is sensitive."""
    products = [node for node in model.graph if node.op_type == "MatMul"]
    return tuple(str(node.name) for node in products if not any(value and value.is_initializer() for value in node.inputs))


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
    model: ir.Model, runtime: str, excluded: tuple[str, ...], mixed_precision: tuple[str, ...] = ()
) -> tuple[Fact, ...]:
    """Why operators with weights run in float in a quantized network, and which `keep_float` had no effect.

    Args:
        model: Result of `quantize_static`.
        runtime: That it was built for.
        excluded: Names of nodes that `keep_float` names.
        mixed_precision: Names of nodes that mixed precision left in float.
    """
    facts = []
    for node in model.graph:
        if node.op_type not in WEIGHTED or all(value is not None and is_dequantized(value) for value in node.inputs[:2]):
            continue
        name, values = str(node.name), {"operator": node.op_type, "runtime": runtime}
        if name in excluded:
            fact = Fact.of("quantize.float_by_keep_float", name, **values)
        elif name in mixed_precision:
            fact = Fact.of("quantize.float_by_mixed_precision", name, **values)
        elif node.op_type in WITHOUT_KERNEL["onnxruntime"]:
            fact = Fact.of("quantize.float_no_kernel", name, **values)
        elif node.op_type == "MatMul" and not any(_is_weight(value) for value in node.inputs):
            fact = Fact.of("quantize.float_activation_product", name, **values)
        else:
            fact = Fact.of("quantize.float_left_by_quantizer", name, **values)
        facts.append(fact)
    return (*facts, *_keep_float_without_effect(model, runtime, excluded))


def _is_weight(value: ir.Value | None) -> bool:
    return value is not None and (value.is_initializer() or is_quantized_weight(value))


def _keep_float_without_effect(model: ir.Model, runtime: str, excluded: tuple[str, ...]) -> Iterator[Fact]:
    """Operators without weights that ONNX Runtime computes in int8 although `keep_float` names them."""
    for node in model.graph:
        if node.name not in excluded or node.op_type in WEIGHTED or node.op_type not in INTEGER:
            continue
        computed = [value for value in node.inputs if value is not None and not value.is_initializer()]
        is_rounded = any(reader.op_type == "QuantizeLinear" for reader in node.outputs[0].consumers())
        if is_rounded and all(is_dequantized(value) for value in computed):
            yield Fact.of("quantize.keep_float_without_effect", str(node.name), operator=node.op_type, runtime=runtime)
