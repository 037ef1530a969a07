"""Where Q/DQ pairs stand, by the runtime family that reads them.

ONNX Runtime computes an operator in int8 only between quantized tensors, so everything from a convolution to the next is one
chain of integers. OpenVINO and TensorRT fuse activations and scales into the product before them and round once, at the next
product's input: a pair in between costs a kernel and accuracy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import onnx

from compress.core.errors import ConversionError

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are worth storing as int8."""
LACKING = {"onnxruntime": ("ConvTranspose",)}
"""Operators with weights that a family has no integer kernel of: a Q/DQ pair around them only costs."""
UNIT_RANGE = ("HardSigmoid", "Sigmoid")
"""Operators whose result is in [0, 1], whatever was seen."""


@dataclass(frozen=True)
class QDQPlacement:
    """How one runtime family wants its numbers.

    Attributes:
        operators: Operator types that compute in int8.
        unsigned: Activations are uint8 with a zero point; otherwise int8 around 0.
        float_outputs: Those whose result stays float unless the next operator reads int8.
        integer_gates: HardSwish and HardSigmoid become saturating integer sums and products, see `gates`.
        fenced: What is left in float is kept from the runtime's optimizer, see `fences`.
        batch: The batch that its file is fixed to; None leaves it free. OpenVINO takes 10 to 15 % longer with a free one.
        signed_input: The network's input is int8 around 0 where it has negative values: OpenVINO's first convolution may take
            twice the time with a zero point, and a normalised image has its middle near 0 anyhow.
        products: Matrix products of two activations are computed in int8, too: OpenVINO fuses an attention into one kernel, and
            that takes a third less with them. What a softmax gives is unsigned then, for twice the levels.
        early_pools: Maxima are taken of integers: the pair behind a MaxPool goes before it, which gives the same numbers.
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


_LATE = (*WEIGHTED, "Add", "GlobalAveragePool")

PLACEMENTS: dict[str, QDQPlacement] = {
    "onnxruntime": QDQPlacement(
        operators=(*WEIGHTED, "Add", "Mul", "Relu", "Clip", "HardSwish", *UNIT_RANGE, "Concat", "Split", "MaxPool",
                   "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"),
        unsigned=True,
        integer_hardswish=True,
        block_weight_quantization=True,
    ),
    "openvino": QDQPlacement(
        operators=(*_LATE, "MaxPool"), unsigned=True, float_outputs=_LATE, batch=1, signed_input=True,
        quantize_before_pool=True, products=True,
    ),
    "tensorrt": QDQPlacement(operators=WEIGHTED, unsigned=False, float_outputs=WEIGHTED),
}  # fmt: skip


def placement_for(model: onnx.ModelProto, family: str, *, symmetric: bool | None = None) -> QDQPlacement:
    """What suits a network on a runtime family.

    Around layer normalisation only products are computed in int8: sums, GELU and what else stands between them have ranges that
    256 levels do not resolve. OpenVINO gets all of their inputs around 0 there: normalisation makes them so, and its matrix
    products take a sixth longer with zero points.

    Args:
        model: Float network.
        family: A key of `PLACEMENTS`.
        symmetric: All activations around 0, or none; None as the family wants. Integer gates need them unsigned.
    """
    placement = PLACEMENTS[family]
    if symmetric is not None:
        gates = placement.integer_hardswish and not symmetric
        placement = replace(placement, unsigned=not symmetric, integer_hardswish=gates, signed_input=False)
    if any(node.op_type == "LayerNormalization" for node in model.graph.node):
        products = tuple(one for one in placement.float_outputs if one in WEIGHTED) or ("Gemm", "MatMul")
        unsigned = placement.unsigned and not placement.signed_input
        placement = replace(placement, operators=WEIGHTED, float_outputs=products, unsigned=unsigned)
    kept = tuple(one for one in placement.operators if one not in LACKING.get(family, ()))
    return replace(placement, operators=kept)


def match_keep_float(model: onnx.ModelProto, globs: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the nodes that the user's globs match.

    Raises:
        ConversionError: A glob matches nothing; nodes with weights are offered.
    """
    names = [node.name for node in model.graph.node]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            weighted = [node.name for node in model.graph.node if node.op_type in WEIGHTED]
            msg = f"keep_float: {glob!r} matches no node; nodes with weights are {', '.join(weighted[:20])}"
            raise ConversionError(msg)
    return tuple(name for name in names if any(fnmatchcase(name, glob) for glob in globs))


def activations_to_calibrate(model: onnx.ModelProto, families: tuple[str, ...]) -> tuple[str, ...]:
    """Tensors whose ranges the families' placements need.

    What only feeds a ReLU or Clip is left out where that operator disappears into the unsigned range of what it gives.
    """
    floats = _float_tensors(model)
    absorbed = _absorbed(model)
    found: dict[str, None] = {}
    for placement in (placement_for(model, family) for family in families):
        for node in model.graph.node:
            if node.op_type in placement.operators:
                names = tuple(node.input) if node.op_type in placement.float_outputs else (*node.input, *node.output)
                left_out = absorbed if placement.unsigned and "Relu" in placement.operators else {}
                found |= dict.fromkeys(name for name in names if name in floats and name not in left_out)
    return tuple(found)


def add_implied_ranges(model: onnx.ModelProto, ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Ranges with those added that follow from the operators: of what a ReLU or Clip absorbs, and of gates."""
    found = dict(ranges)
    absorbed = _absorbed(model)
    for before in absorbed:
        after = before
        while after not in ranges and after in absorbed:
            after = absorbed[after]
        if after in ranges:
            found[before] = ranges[after]
    return found | {node.output[0]: (0.0, 1.0) for node in model.graph.node if node.op_type in UNIT_RANGE}


def _absorbed(model: onnx.ModelProto) -> dict[str, str]:
    """Tensors that only feed a ReLU or Clip, and what that operator gives."""
    consumers = Counter(name for node in model.graph.node for name in node.input)
    clips = (node for node in model.graph.node if node.op_type in ("Relu", "Clip"))
    return {node.input[0]: node.output[0] for node in clips if consumers[node.input[0]] == 1}


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    constant = {tensor.name for tensor in graph.initializer}
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name
        for value in values
        if value.name not in constant and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
