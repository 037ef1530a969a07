"""Shapes through the graph that ONNX Runtime makes of a file: one rule for each operator that changes them.

Operators without a rule work element by element. Where the runtime changed the layout, channels come last, or in blocks of one
vector, to which they are rounded up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from math import prod
from typing import Any

import onnx

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
BATCHED = {"MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat"}
PRODUCTS = {"Gemm", "FusedGemm", "QGemm"} | BATCHED
WINDOWED = {"Conv", "FusedConv", "QLinearConv", "MaxPool", "AveragePool", "NhwcMaxPool", "QLinearAveragePool"}
GLOBAL = {"GlobalAveragePool", "GlobalMaxPool", "QLinearGlobalAveragePool"}


@dataclass(frozen=True)
class NodeContext:
    """What a rule is given.

    Attributes:
        node: What makes the tensor.
        place: Which of its outputs.
        shapes: Of all tensors before it.
        constants: Values of lists of whole numbers, by name.
        given: Attributes of the node.
        block: Channels in a block of the runtime's own layout.
    """

    node: onnx.NodeProto
    place: int
    shapes: Mapping[str, Shape]
    constants: Mapping[str, Shape]
    given: Attributes
    block: int

    @property
    def first(self) -> Shape:
        """Shape of the first input."""
        return self.shapes[self.node.input[0]]

    @property
    def listed(self) -> Shape:
        """The second input, where it is a known list of numbers."""
        return self.constants.get(self.node.input[1], ()) if len(self.node.input) > 1 else ()

    @property
    def last(self) -> bool:
        """Whether channels are the last dimension."""
        return bool(self.given.get("channels_last")) or self.node.op_type == "NhwcMaxPool"


def output_shape(
    node: onnx.NodeProto, shapes: Mapping[str, Shape], constants: Mapping[str, Shape], place: int = 0, block: int = 16
) -> Shape:
    """Shape of one output of a node.

    Args:
        node: The node.
        shapes: Of all tensors before it.
        constants: Values of lists of whole numbers, by name.
        place: Which output.
        block: As `channel_block` gives it.
    """
    rule = RULES.get(node.op_type)
    if rule is None:
        return broadcast([shapes.get(name, ()) for name in node.input if name])
    return rule(NodeContext(node, place, shapes, constants, attributes(node), block))


def _windowed(asked: NodeContext) -> Shape:
    """Convolutions and pools: ⌊(size + pads − dilation (kernel − 1) − 1) / stride⌋ + 1 in each direction; ⌈⌉ where asked."""
    first, given = asked.first, asked.given
    space = first[1:-1] if asked.last else first[2:]
    convolution = asked.node.op_type.endswith("Conv")
    weight = asked.shapes[weight_name(asked.node)] if convolution else ()
    kernel = given.get("kernel_shape") or weight[2:]
    strides, dilations = (given.get(name) or [1] * len(space) for name in ("strides", "dilations"))
    pads = given.get("pads") or [0] * (2 * len(space))
    up = bool(given.get("ceil_mode"))
    if given.get("auto_pad", b"").startswith(b"SAME"):
        found = [-(-size // stride) for size, stride in zip(space, strides, strict=True)]
    else:
        room = [
            size + pads[axis] + pads[axis + len(space)] - dilations[axis] * (kernel[axis] - 1) - 1
            for axis, size in enumerate(space)
        ]
        found = [(size + (stride - 1) * up) // stride + 1 for size, stride in zip(room, strides, strict=True)]
    channels = weight[0] if convolution else (first[-1] if asked.last else first[1])
    return (first[0], *found, channels) if asked.last else (first[0], channels, *found)


def _global(asked: NodeContext) -> Shape:
    first, ones = asked.first, [1] * (len(asked.first) - 2)
    return (first[0], *ones, first[-1]) if asked.last else (*first[:2], *ones)


def _transposed(asked: NodeContext) -> Shape:
    order = asked.given.get("perm", range(len(asked.first))[::-1])
    return tuple(asked.first[axis] for axis in order)


def _into_blocks(asked: NodeContext) -> Shape:
    batch, *rest = asked.first
    channels, *space = (rest[-1], *rest[:-1]) if asked.last else rest
    return (batch, -(-channels // asked.block) * asked.block, *space)


def _out_of_blocks(asked: NodeContext) -> Shape:
    batch, _, *space = asked.first
    channels = asked.given["channels"]
    return (batch, *space, channels) if asked.last else (batch, channels, *space)


def _reshaped(asked: NodeContext) -> Shape:
    """0 keeps a size, −1 takes what is left."""
    kept = [asked.first[axis] if size == 0 else size for axis, size in enumerate(asked.listed)]
    left = prod(asked.first) // max(1, prod(size for size in kept if size > 0))
    return tuple(left if size < 0 else size for size in kept)


def _squeezed(asked: NodeContext) -> Shape:
    """Without the axes named; without every axis of one when none is."""
    first = asked.first
    gone = {axis % len(first) for axis in asked.listed} or {axis for axis, size in enumerate(first) if size == 1}
    return tuple(size for axis, size in enumerate(first) if axis not in gone)


def _unsqueezed(asked: NodeContext) -> Shape:
    rank = len(asked.first) + len(asked.listed)
    new, sizes = {axis % rank for axis in asked.listed}, iter(asked.first)
    return tuple(1 if axis in new else next(sizes) for axis in range(rank))


def _split(asked: NodeContext) -> Shape:
    first = asked.first
    axis = asked.given.get("axis", 0) % len(first)
    size = asked.listed[asked.place] if asked.listed else first[axis] // len(asked.node.output)
    return (*first[:axis], size, *first[axis + 1 :])


def _multiplied(asked: NodeContext) -> Shape:
    """Rows of the first by columns of the second, and the larger of their stacks."""
    given = asked.given
    first = undo_fused_transpose(asked.first, given.get("transBatchA", 0))
    second = undo_fused_transpose(asked.shapes[weight_name(asked.node)], given.get("transBatchB", 0))
    rows, columns = first[-1 if given.get("transA") else -2], second[-2 if given.get("transB") else -1]
    return (*broadcast([first[:-2], second[:-2]]), rows, columns)


def _concatenated(asked: NodeContext) -> Shape:
    """Sizes add up along one axis; the quantized operator names tensor, scale and zero point of each in turn."""
    inputs = asked.node.input
    parts = [asked.shapes[name] for name in (inputs[2::3] if asked.node.op_type == "QLinearConcat" else inputs)]
    axis = asked.given["axis"] % len(parts[0])
    return (*parts[0][:axis], sum(part[axis] for part in parts), *parts[0][axis + 1 :])


RULES: dict[str, Callable[[NodeContext], Shape]] = {
    **dict.fromkeys(WINDOWED, _windowed),
    **dict.fromkeys(GLOBAL, _global),
    **dict.fromkeys(PRODUCTS, _multiplied),
    "Transpose": _transposed,
    "ReorderInput": _into_blocks,
    "ReorderOutput": _out_of_blocks,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Split": _split,
    "Concat": _concatenated,
    "QLinearConcat": _concatenated,
}


def channel_block(instruction_sets: Collection[str]) -> int:
    """Channels in a block of the runtime's own layout: one vector of AVX-512 or AVX2, four of Arm's (MLAS)."""
    return 16 if {"avx512f", "asimd"} & set(instruction_sets) else 8


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node by name, as Python values."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def broadcast(shapes: list[Shape]) -> Shape:
    """Shape of an operation element by element."""
    sizes = zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return tuple(max(size) for size in sizes)[::-1]


def undo_fused_transpose(shape: Shape, twisted: int) -> Shape:
    """Stacks, rows, columns of an operand; a twisted one has its rows before its stacks, for the runtime fused a transpose."""
    return (*shape[1:-1], shape[0], shape[-1]) if twisted else shape


def weight_name(node: onnx.NodeProto) -> str:
    """Name of a convolution's or product's second operand."""
    return str(node.input[3 if node.op_type in ("QLinearConv", "QGemm", "QLinearMatMul") else 1])
