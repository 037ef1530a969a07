"""Operators of an ONNX file that can be trained through: those that `torch_operators` has. Read without torch."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from compress.core.errors import ConversionError

TRAINABLE = frozenset(
    (
        "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
        "BatchNormalization", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
        "ConvTranspose", "Cos", "Cosh", "CumSum", "DepthToSpace", "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp",
        "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool",
        "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "GroupNormalization", "HardSigmoid", "HardSwish",
        "Identity", "InstanceNormalization", "IsNaN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log",
        "LogSoftmax", "LpNormalization", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not",
        "OneHot", "Or", "PRelu", "Pad", "Pow", "RMSNormalization", "Range", "Reciprocal", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Relu", "Reshape", "Resize", "Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink",
        "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt",
        "Squeeze", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze",
        "Upsample", "Where", "Xor",
    )
)  # fmt: skip
STANDARD = ("", "ai.onnx")


def untrainable(nodes: Iterator[tuple[str, str, str]]) -> dict[str, str]:
    """Operators that cannot be trained through, each with its first node.

    Args:
        nodes: Domain, operator and name of each.
    """
    found: dict[str, str] = {}
    for domain, operator, name in nodes:
        if domain not in STANDARD or operator not in TRAINABLE:
            found.setdefault(operator if domain in STANDARD else f"{domain}.{operator}", name)
    return found


def untrainable_sentence(found: dict[str, str], purpose: str) -> str:
    """The sentence on them.

    Args:
        found: Of `untrainable`, not empty.
        purpose: The stage that needs a torch network.
    """
    listed = ", ".join(f"{operator} ({node or 'without a name'})" for operator, node in found.items())
    plural = len(found) > 1
    return (
        f"{purpose} needs a network that can be trained, and {'operators' if plural else 'operator'} {listed} of this ONNX "
        f"file {'have' if plural else 'has'} no torch counterpart with gradients here: leave {purpose} out, or start from the "
        "network's own source (torchvision:, timm:, file:, python:)"
    )


def check_trainable(model: ir.Model, purpose: str) -> None:
    """Refuse a network with an operator that cannot be trained through.

    Raises:
        ConversionError: There is one; operator and node are named.
    """
    if found := untrainable((node.domain, node.op_type, str(node.name or "")) for node in model.graph):
        raise ConversionError(untrainable_sentence(found, purpose))


def nodes_of(model: onnx.ModelProto) -> Iterator[tuple[str, str, str]]:
    """Domain, operator and name of each node of the main graph."""
    for node in model.graph.node:
        yield node.domain, node.op_type, node.name or (node.output[0] if node.output else "")
