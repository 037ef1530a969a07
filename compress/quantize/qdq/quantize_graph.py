"""Static int8 quantization of an ONNX network: insert Q/DQ pairs for a runtime and store weights as int8.

    q = clip(round(x / s) + z),   x ≈ s (q − z)

Weights are signed and symmetric (z = 0) with one scale s per output channel; activations have one scale per tensor, from a
calibrated range. Jacob et al. 2018, arXiv:1712.05877; Wu et al. 2020, arXiv:2004.09602. ONNX Runtime's quantizer inserts the
pairs.
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
from compress.quantize.qdq.float_arithmetic import float_arithmetic
from compress.quantize.qdq.keep_float_weights import block_weight_quantization
from compress.quantize.qdq.moved_concats import CONCAT, MovedConcats, find_moved_concats
from compress.quantize.qdq.placement import WEIGHTED, WITHOUT_KERNEL, QDQPlacement, add_implied_ranges, placement_for
from compress.quantize.qdq.rewrite_hardswish import decompose_hardswish, hardsigmoid_to_qadd, original_node_name
from compress.quantize.qdq.rewrite_pooling import quantize_before_maxpool

Ranges = Mapping[str, tuple[float, float]]
QUANTIZER_FOLDER = Path(onnxruntime.quantization.__file__).parent
SMALLEST_RANGE = 256 * float(np.finfo(np.float32).tiny)
"""The quantizer sets the scale of a tensor with a smaller range to 1."""
FLOAT_REASONS = frozenset(
    {"quantize.float_activation_product", "quantize.float_by_keep_float", "quantize.float_by_mixed_precision",
     "quantize.float_left_by_quantizer", "quantize.float_no_kernel"}
)  # fmt: skip
"""Codes of the facts of `float_layers` on why a node computes in float."""


@dataclass(frozen=True, eq=False)
class QDQOptions:
    """Options of the quantization for one runtime.

    Attributes:
        per_channel: One weight scale per output channel; otherwise one per tensor.
        reduce_range: 7-bit weights: x86 without VNNI adds pairs of products in 16 bits, which saturates with 8-bit weights.
        exclude: Names of nodes that stay in float.
        grids: Quantized weights, by initializer; other weights are rounded to the nearest.
        symmetric: Whether activations have zero point 0; None selects what the runtime prefers.
    """

    per_channel: bool = True
    reduce_range: bool = False
    exclude: tuple[str, ...] = ()
    grids: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    symmetric: bool | None = None


def quantize_static(model: ir.Model, ranges: Ranges, runtime: str, options: QDQOptions | None = None) -> onnx.ModelProto:
    """Quantize a network for one runtime.

    Args:
        model: Float network with folded batch norms; not changed.
        ranges: Smallest and largest value by activation tensor.
        runtime: A key of `placement.PLACEMENTS`.
        options: Options; None for the defaults.
    """
    options = options or QDQOptions()
    placement = placement_for(model, runtime, symmetric=options.symmetric)
    return finish(insert_qdq(model, ranges, placement, options), placement)


def insert_qdq(model: ir.Model, ranges: Ranges, placement: QDQPlacement, options: QDQOptions) -> ir.Model:
    """Insert Q/DQ pairs; tensors keep their names. See `quantize_static` for the arguments."""
    copy = model.clone()
    if placement.integer_hardswish:
        decompose_hardswish(copy)
    chains = find_moved_concats(model, placement.operators) if placement.moved_concats else MovedConcats(frozenset(), ())
    ranges = add_implied_ranges(copy, chains.share(ranges))
    exclude = (*options.exclude, *float_arithmetic(model, placement, options.exclude), *_clips_read_in_branches(copy))
    float_concat = [CONCAT] if chains.nodes else []  # its result is read through moves alone
    others = [
        str(node.name) for node in copy.graph if float_concat and node.op_type == CONCAT and node.name not in chains.nodes
    ]
    settings = {
        "ActivationSymmetric": not placement.unsigned,
        "WeightSymmetric": True,
        "QuantizeBias": False,  # runtimes quantize biases themselves with scale s_x s_w; see _quantize_biases for exceptions
        "OpTypesToExcludeOutputQuantization": [*placement.float_outputs, *float_concat],
        "TensorQuantOverrides": _overrides(model, ranges, placement),
    }
    with _quantizer_advice_hidden():
        quantizer = QDQQuantizer(
            graphs.to_proto(copy),
            options.per_channel,
            options.reduce_range,
            QuantType.QInt8,
            QuantType.QUInt8 if placement.unsigned else QuantType.QInt8,
            _as_tensors_data(ranges),
            [],
            [*_with_split_nodes(copy, exclude), *others, *(() if placement.products else _activation_products(model))],
            [*placement.operators, *float_concat],
            settings,
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized = graphs.to_ir(quantizer.model.model)
    write_back(quantized, options.grids, {layer.weight: layer for layer in weighted_layers(model)})
    fit_scales_to_biases(quantized, {name for name, (low, high) in ranges.items() if max(high, -low) < SMALLEST_RANGE})
    _free_outputs(quantized, {str(value.name): value.producer() for value in model.graph.outputs})
    return quantized


def finish(model: ir.Model, placement: QDQPlacement) -> onnx.ModelProto:
    """Apply the rewrites after which tensors no longer have their original names.

    Args:
        model: Network of `insert_qdq`; changed.
        placement: That of its Q/DQ pairs.
    """
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
    """Tensors with another integer type: int8 for inputs with negative values, uint8 for outputs of softmax."""
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
    """Set the first dimension of inputs and outputs, in place."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape:
            value.shape = ir.Shape([batch, *value.shape[1:]])


def _with_split_nodes(model: ir.Model, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of nodes and of the nodes that they were decomposed into."""
    return tuple(name for node in model.graph if original_node_name(name := str(node.name)) in names)


def _free_outputs(model: ir.Model, producers: Mapping[str, ir.Node | None]) -> None:
    """Remove the Q/DQ pairs at the network's outputs, because 8-bit logits of different classes are often equal.

    A pair stays if it replaces the ReLU or Clip that produces the output in the float network, see `producers`.
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
        before = exact.producer()
        if producer is not None and producer.op_type in ("Relu", "Clip") and before and before.op_type != producer.op_type:
            continue
        exact.type, exact.shape = value.type, value.shape
        graph.outputs[index] = exact
        graph.remove([node for node in (dequantize, quantize) if node is not None], safe=True)
        exact.name = value.name


def _quantize_biases(model: ir.Model) -> None:
    """Store biases of Gemm nodes with a float output as int32, b ≈ s_x s_w q.

    ONNX Runtime quantizes biases itself only if the output is quantized; otherwise it would compute the Gemm in float. A bias
    stays float if s_x s_w underflows in float32 or b / (s_x s_w) exceeds int32.
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
        initializers = [graphs.add_initializer(model, f"{name}_{part}", array) for part, array in (("q", q), ("scale", scale))]
        dequantize = graphs.make_node("DequantizeLinear", initializers, [f"{name}_float"], axis=0)
        model.graph.insert_before(node, dequantize)
        node.replace_input_with(2, dequantize.outputs[0])


def _clips_read_in_branches(model: ir.Model) -> tuple[str, ...]:
    """Names of ReLU and Clip operators that branches or loops read; without them these would read their input."""
    clips = [node for node in model.graph if node.op_type in ("Relu", "Clip")]
    return tuple(str(node.name) for node in clips if any(user.graph is not model.graph for user in node.outputs[0].consumers()))


def _activation_products(model: ir.Model) -> tuple[str, ...]:
    """Names of matrix products of two activations, as in attention: no weight is stored, and the softmax after is sensitive."""
    products = [node for node in model.graph if node.op_type == "MatMul"]
    return tuple(str(node.name) for node in products if not any(value and value.is_initializer() for value in node.inputs))


def _as_tensors_data(ranges: Ranges) -> TensorsData:
    """Ranges in the quantizer's type, extended to contain 0, which padding and ReLU produce."""
    data = {
        name: TensorData(lowest=np.float32(min(low, 0.0)), highest=np.float32(max(high, 0.0)))
        for name, (low, high) in ranges.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


class _QuantizerAdvice(logging.Filter):
    """Hides the quantizer's advice to preprocess the model, which is done already. It uses the root logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show a record."""
        return record.levelno >= logging.ERROR or QUANTIZER_FOLDER not in Path(record.pathname).parents


@contextmanager
def _quantizer_advice_hidden() -> Iterator[None]:
    advice = _QuantizerAdvice()
    logging.getLogger().addFilter(advice)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(advice)


def float_layers(
    model: ir.Model, runtime: str, excluded: tuple[str, ...], mixed_precision: tuple[str, ...] = ()
) -> tuple[Fact, ...]:
    """Facts on why operators with weights run in float, and on names in `keep_float` without effect.

    Args:
        model: Result of `quantize_static`.
        runtime: Runtime that the model was built for.
        excluded: Names of nodes in `keep_float`.
        mixed_precision: Names of nodes that mixed precision keeps in float.
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
    """Facts on operators without weights that ONNX Runtime computes in int8 although `keep_float` names them."""
    for node in model.graph:
        if node.name not in excluded or node.op_type in WEIGHTED or node.op_type not in INTEGER:
            continue
        computed = [value for value in node.inputs if value is not None and not value.is_initializer()]
        is_rounded = any(reader.op_type == "QuantizeLinear" for reader in node.outputs[0].consumers())
        if is_rounded and all(is_dequantized(value) for value in computed):
            yield Fact.of("quantize.keep_float_without_effect", str(node.name), operator=node.op_type, runtime=runtime)
