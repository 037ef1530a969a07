"""Placement of Q/DQ pairs, by runtime.

ONNX Runtime computes an operator in int8 only between quantized tensors, so every operator between two convolutions is
quantized. OpenVINO and TensorRT fuse activation functions and scales into the preceding product and quantize once, at the input
of the next product: a Q/DQ pair in between costs a kernel and accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.quantize.qdq.moved_concats import calibrated_tensors

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are quantized."""
WITHOUT_KERNEL = {"onnxruntime": ("ConvTranspose",)}
"""Operators with weights without integer kernel in a runtime: Q/DQ pairs around them only cost time."""
UNIT_RANGE = ("HardSigmoid", "Sigmoid")
"""Operators whose output range is [0, 1], whatever calibration observes."""


@dataclass(frozen=True)
class QDQPlacement:
    """Which tensors are quantized for one runtime, and how.

    Attributes:
        operators: Operator types that compute in int8.
        unsigned: Activations are uint8 with a zero point; otherwise int8 with zero point 0.
        float_outputs: Operator types whose output stays float unless the next operator reads int8.
        integer_hardswish: Replace HardSwish and HardSigmoid by saturating integer sums and products, see `rewrite_hardswish`.
        block_weight_quantization: Prevent the optimizer from quantizing weights of float layers, see `keep_float_weights`.
        batch: Batch size of the file; None leaves it free. OpenVINO takes 10 to 15 % longer with a free batch.
        signed_input: A network input with negative values is int8 with zero point 0: with another zero point the first
            convolution may take twice the time in OpenVINO. A normalized image has a mean near 0.
        quantize_before_pool: Insert Q/DQ pairs before each MaxPool instead of after it, which gives the same results.
        products: Matrix products of two activations are computed in int8, too: with them, OpenVINO's fused attention takes a
            third less time. The output of a softmax is then unsigned, which has twice the levels.
        moved_concats: Chains of concatenations and shuffles are int8 with one scale, see `moved_concats`.
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
    moved_concats: bool = False


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
        quantize_before_pool=True, products=True, moved_concats=True,
    ),
    "tensorrt": QDQPlacement(operators=WEIGHTED, unsigned=False, float_outputs=WEIGHTED),
}  # fmt: skip


def placement_for(model: ir.Model, runtime: str, *, symmetric: bool | None = None) -> QDQPlacement:
    """The placement for a network in a runtime.

    In a network with layer normalization only products are computed in int8: 256 levels do not resolve the ranges of sums, GELU
    and other operators between them. For OpenVINO all their inputs have zero point 0: normalization centers them, and matrix
    products take a sixth longer with zero points.

    Args:
        model: Float network.
        runtime: A key of `PLACEMENTS`.
        symmetric: Whether activations have zero point 0; None selects what the runtime prefers. True excludes an integer
            HardSwish, which needs unsigned activations.
    """
    placement = PLACEMENTS[runtime]
    if symmetric is not None:
        integer_hardswish = placement.integer_hardswish and not symmetric
        placement = replace(placement, unsigned=not symmetric, integer_hardswish=integer_hardswish, signed_input=False)
    if any(node.op_type == "LayerNormalization" for node in model.graph):
        products = tuple(operator for operator in placement.float_outputs if operator in WEIGHTED) or ("Gemm", "MatMul")
        unsigned = placement.unsigned and not placement.signed_input
        placement = replace(placement, operators=WEIGHTED, float_outputs=products, unsigned=unsigned, moved_concats=False)
    operators = tuple(operator for operator in placement.operators if operator not in WITHOUT_KERNEL.get(runtime, ()))
    return replace(placement, operators=operators)


def match_keep_float(model: ir.Model, globs: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the nodes that the globs of `keep_float` match; see `match_nodes`."""
    return match_nodes(model, globs, "keep_float")


def match_nodes(model: ir.Model, globs: tuple[str, ...], setting: str) -> tuple[str, ...]:
    """Names of the nodes that globs match.

    Args:
        model: The network.
        globs: Globs of names.
        setting: Name of the setting, for the error.

    Raises:
        ConversionError: A glob matches no node; the message lists nodes with weights.
    """
    names = [str(node.name or "") for node in model.graph]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            weighted = [str(node.name) for node in model.graph if node.op_type in WEIGHTED]
            msg = gettext(
                "{setting}: {glob!r} matches no node; nodes with weights are {weighted}",
                setting=setting,
                glob=glob,
                weighted=", ".join(weighted[:20]),
            )
            raise ConversionError(msg)
    return tuple(name for name in names if any(fnmatchcase(name, glob) for glob in globs))


def activations_to_calibrate(model: ir.Model, runtimes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the tensors whose ranges the placements of the runtimes need.

    A tensor that only a ReLU or Clip reads is not calibrated if the unsigned range of its output replaces that operator.
    """
    floats = {str(value.name) for value in graphs.float_tensors(graphs.with_shapes(model))}
    absorbed = _absorbed(model)
    tensors: dict[str, None] = {}
    for placement in (placement_for(model, runtime) for runtime in runtimes):
        skipped = absorbed if placement.unsigned and "Relu" in placement.operators else {}
        if placement.moved_concats:
            tensors |= dict.fromkeys(name for name in calibrated_tensors(model, placement.operators) if name in floats)
        for node in model.graph:
            if node.op_type in placement.operators:
                outputs = () if node.op_type in placement.float_outputs else graphs.output_names(node)
                names = (*graphs.input_names(node), *outputs)
                tensors |= dict.fromkeys(name for name in names if name in floats and name not in skipped)
    return tuple(tensors)


def add_implied_ranges(model: ir.Model, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Add the ranges of tensors that only a ReLU or Clip reads (those of its output), and [0, 1] of `UNIT_RANGE` operators."""
    extended = dict(ranges)
    absorbed = _absorbed(model)
    for name in absorbed:
        output = name
        while output not in ranges and output in absorbed:
            output = absorbed[output]
        if output in ranges:
            extended[name] = ranges[output]
    return extended | {graphs.output_names(node)[0]: (0.0, 1.0) for node in model.graph if node.op_type in UNIT_RANGE}


def _absorbed(model: ir.Model) -> dict[str, str]:
    """Output of the ReLU or Clip, by name of the tensor that only this operator reads."""
    clips = [node for node in model.graph if node.op_type in ("Relu", "Clip")]
    return {
        str(node.inputs[0].name): graphs.output_names(node)[0]
        for node in clips
        if node.inputs[0] is not None and len(node.inputs[0].uses()) == 1
    }
