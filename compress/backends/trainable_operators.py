"""Operators of an ONNX file that can be trained: those of `torch_operators`. This file does not import torch."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from compress.core.errors import ConversionError
from compress.core.language import gettext, ngettext

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
    """Operators that cannot be trained, each with the name of its first node.

    Args:
        nodes: Domain, operator and name of each node.
    """
    first_nodes: dict[str, str] = {}
    for domain, operator, name in nodes:
        if domain not in STANDARD or operator not in TRAINABLE:
            first_nodes.setdefault(operator if domain in STANDARD else f"{domain}.{operator}", name)
    return first_nodes


def untrainable_sentence(first_nodes: dict[str, str], purpose: str) -> str:
    """Error message for operators that cannot be trained.

    Args:
        first_nodes: Result of `untrainable`, not empty.
        purpose: Stage that trains the network.
    """
    return ngettext(
        "{purpose} needs a network that can be trained, but operator {names} of this ONNX file has no torch equivalent here: "
        "remove {purpose}, or start from the network's own source (torchvision:, timm:, file:, python:)",
        "{purpose} needs a network that can be trained, but operators {names} of this ONNX file have no torch equivalent here: "
        "remove {purpose}, or start from the network's own source (torchvision:, timm:, file:, python:)",
        len(first_nodes),
        purpose=purpose,
        names=_names(first_nodes),
    )


def untaught_sentence(first_nodes: dict[str, str]) -> str:
    """Error message for a teacher with operators without torch function; the argument is a result of `untrainable`."""
    return ngettext(
        "a teacher runs in torch, but operator {names} of this ONNX file has no torch equivalent here: "
        "give the teacher's own source (torchvision:, timm:, file:, python:)",
        "a teacher runs in torch, but operators {names} of this ONNX file have no torch equivalent here: "
        "give the teacher's own source (torchvision:, timm:, file:, python:)",
        len(first_nodes),
        names=_names(first_nodes),
    )


def _names(first_nodes: dict[str, str]) -> str:
    return ", ".join(f"{operator} ({node or gettext('without a name')})" for operator, node in first_nodes.items())


def check_trainable(model: ir.Model, purpose: str) -> None:
    """Check that all operators of a network can be trained.

    Raises:
        ConversionError: An operator cannot; the message names it and its first node.
    """
    if first_nodes := untrainable((node.domain, node.op_type, str(node.name or "")) for node in model.graph):
        raise ConversionError(untrainable_sentence(first_nodes, purpose))


def nodes_of(model: onnx.ModelProto) -> Iterator[tuple[str, str, str]]:
    """Domain, operator and name of each node of the main graph."""
    for node in model.graph.node:
        yield node.domain, node.op_type, node.name or (node.output[0] if node.output else "")
