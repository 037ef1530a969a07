"""Where Q/DQ pairs stand, by the runtime that reads them.

ONNX Runtime computes an operator in int8 only between quantized tensors, so everything from a convolution to the next is one
chain of integers. OpenVINO and TensorRT fuse activation functions and scales into the product before them and quantize once, at
the next product's input: a pair in between costs a kernel and accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are worth storing as int8."""
WITHOUT_KERNEL = {"onnxruntime": ("ConvTranspose",)}
"""Operators with weights for which a runtime has no integer kernel: a Q/DQ pair around them only costs time."""
UNIT_RANGE = ("HardSigmoid", "Sigmoid")
"""Operators whose result is in [0, 1], whatever calibration observed."""


@dataclass(frozen=True)
class QDQPlacement:
    """Which tensors one runtime needs quantized, and how.

    Attributes:
        operators: Operator types that compute in int8.
        unsigned: Activations are uint8 with a zero point; otherwise int8 around 0.
        float_outputs: Those whose result stays float unless the next operator reads int8.
        integer_hardswish: HardSwish and HardSigmoid become saturating integer sums and products, see `rewrite_hardswish`.
        block_weight_quantization: The runtime's optimizer may not quantize weights of float layers, see `keep_float_weights`.
        batch: Batch size of the file; None leaves it free. OpenVINO takes 10 to 15 % longer with a free one.
        signed_input: The network's input is int8 around 0 where it has negative values: OpenVINO's first convolution may take
            twice the time with a zero point, and a normalized image has its mean near 0 in any case.
        quantize_before_pool: Q/DQ pairs stand before each MaxPool instead of after it, which gives the same results.
        products: Matrix products of two activations are computed in int8, too: OpenVINO fuses attention into one kernel, which
            takes a third less time with them. The result of a softmax is unsigned then, for twice the levels.
    """

    operators: tuple[str, ...]
    unsigned: bool
    float_outputs: tuple[str, ...] = ()
    integer_hardswish: bool = False
    block_weight_quantization: bool = False
    batch: int | None = None
    signed_input: bool = False
    quantize_before_pool: bool = False
    products: bool = False


_QUANTIZED_INPUTS = (*WEIGHTED, "Add", "GlobalAveragePool")

PLACEMENTS: dict[str, QDQPlacement] = {
    "onnxruntime": QDQPlacement(
        operators=(*WEIGHTED, "Add", "Mul", "Relu", "Clip", "HardSwish", *UNIT_RANGE, "Concat", "Split", "MaxPool",
                   "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"),
        unsigned=True,
        integer_hardswish=True,
        block_weight_quantization=True,
    ),
    "openvino": QDQPlacement(
        operators=(*_QUANTIZED_INPUTS, "MaxPool"), unsigned=True, float_outputs=_QUANTIZED_INPUTS, batch=1, signed_input=True,
        quantize_before_pool=True, products=True,
    ),
    "tensorrt": QDQPlacement(operators=WEIGHTED, unsigned=False, float_outputs=WEIGHTED),
}  # fmt: skip


def placement_for(model: ir.Model, runtime: str, *, symmetric: bool | None = None) -> QDQPlacement:
    """The placement that suits a network on a runtime.

    In a network with layer normalization only products are computed in int8: sums, GELU and other operators between them have
    ranges that 256 levels do not resolve. For OpenVINO all their inputs are quantized around 0: normalization centers them, and
    its matrix products take a sixth longer with zero points.

    Args:
        model: Float network.
        runtime: A key of `PLACEMENTS`.
        symmetric: All activations around 0, or none; None as the runtime prefers. An integer HardSwish needs them unsigned.
    """
    placement = PLACEMENTS[runtime]
    if symmetric is not None:
        integer_hardswish = placement.integer_hardswish and not symmetric
        placement = replace(placement, unsigned=not symmetric, integer_hardswish=integer_hardswish, signed_input=False)
    if any(node.op_type == "LayerNormalization" for node in model.graph):
        products = tuple(operator for operator in placement.float_outputs if operator in WEIGHTED) or ("Gemm", "MatMul")
        unsigned = placement.unsigned and not placement.signed_input
        placement = replace(placement, operators=WEIGHTED, float_outputs=products, unsigned=unsigned)
    operators = tuple(operator for operator in placement.operators if operator not in WITHOUT_KERNEL.get(runtime, ()))
    return replace(placement, operators=operators)


def match_keep_float(model: ir.Model, globs: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the nodes that the user's globs match.

    Raises:
        ConversionError: A glob matches nothing; the message lists nodes with weights.
    """
    names = [str(node.name or "") for node in model.graph]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            weighted = [str(node.name) for node in model.graph if node.op_type in WEIGHTED]
            msg = f"keep_float: {glob!r} matches no node; nodes with weights are {', '.join(weighted[:20])}"
            raise ConversionError(msg)
    return tuple(name for name in names if any(fnmatchcase(name, glob) for glob in globs))


def activations_to_calibrate(model: ir.Model, runtimes: tuple[str, ...]) -> tuple[str, ...]:
    """Tensors whose ranges the runtimes' placements need.

    A tensor that only feeds a ReLU or Clip is left out where that operator is absorbed by the unsigned range of its result.
    """
    floats = {str(value.name) for value in graphs.float_tensors(graphs.with_shapes(model))}
    absorbed = _absorbed(model)
    tensors: dict[str, None] = {}
    for placement in (placement_for(model, runtime) for runtime in runtimes):
        skipped = absorbed if placement.unsigned and "Relu" in placement.operators else {}
        for node in model.graph:
            if node.op_type in placement.operators:
                outputs = () if node.op_type in placement.float_outputs else graphs.output_names(node)
                names = (*graphs.input_names(node), *outputs)
                tensors |= dict.fromkeys(name for name in names if name in floats and name not in skipped)
    return tuple(tensors)


def add_implied_ranges(model: ir.Model, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Ranges, and those that follow from the operators: of tensors that a ReLU or Clip absorbs, and of results in [0, 1]."""
    extended = dict(ranges)
    absorbed = _absorbed(model)
    for before in absorbed:
        after = before
        while after not in ranges and after in absorbed:
            after = absorbed[after]
        if after in ranges:
            extended[before] = ranges[after]
    return extended | {graphs.output_names(node)[0]: (0.0, 1.0) for node in model.graph if node.op_type in UNIT_RANGE}


def _absorbed(model: ir.Model) -> dict[str, str]:
    """Tensors that only feed a ReLU or Clip, and that operator's result."""
    clips = [node for node in model.graph if node.op_type in ("Relu", "Clip")]
    return {
        str(node.inputs[0].name): graphs.output_names(node)[0]
        for node in clips
        if node.inputs[0] is not None and len(node.inputs[0].uses()) == 1
    }
