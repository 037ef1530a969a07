"""What ONNX Runtime runs of a file, kernel by kernel, with the counts that its time is estimated from. Nothing is run.

The runtime fuses nodes, changes layouts and pads channels, each in its own way on each processor; `optimize_graph` asks it
what it would run. Each kernel gets a class, such as `conv fp32 pointwise`, whose members share their rates, and counts:

    macs              multiply-accumulates, channels rounded up to the width of a vector
    tiles             multiply-accumulates of whole tiles of six outputs, used or not: weights are loaded once for each tile
    im2col_elements   inputs as gathered for the product, once for each 64 output channels
    partial_sums      partial sums written back: outputs × blocks of 16 input channels
    outputs, inputs   elements
    unaligned_macs    the multiply-accumulates again, where channels do not fill vectors
    copies            contiguous parts of the inputs that are gathered for a product
    rows              outputs that share one gathered input
    pieces            contiguous runs or groups that are started
    l2_spill_bytes    bytes of activations, where they exceed the second-level cache
    l2_miss_bytes     bytes of weights, where those of the network exceed the second-level cache
    llc_miss_bytes    the same for the last-level cache
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from pathlib import Path
from typing import Any

import onnx

from compress.core.errors import ConversionError
from compress.profile.cost_model.kernel_shapes import PRODUCTS, Shape, attributes, undo_fused_transpose, weight_name
from compress.profile.cost_model.optimized_graph import BLOCKED, optimize_graph

LANES, TILE, PANEL, DOT = 16, 6, 64, 4
"""Of the kernels: floats in a vector, outputs in a tile, channels out that share an input, products in one dot instruction."""
CONVOLUTIONS = {"Conv", "FusedConv", "QLinearConv", "ConvTranspose", "ConvInteger"}
FROM_INT8 = {"QGemm", "DequantizeLinear", "MatMulInteger", "MatMulIntegerToFloat"}
"""Read int8, and may give float."""
VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape"}
WIDTHS = {onnx.TensorProto.INT8: 1, onnx.TensorProto.UINT8: 1, onnx.TensorProto.INT64: 8}
LONGEST = 4
"""Axes of a transpose that still has a class of its own."""
FULL_QGEMM = 9
"""Inputs of a QGemm that gives int8; with fewer it gives float."""
Counts = dict[str, float]
L2_BYTES, L3_BYTES = 1 << 20, 32 << 20
"""Where the system does not tell its caches."""


@dataclass(frozen=True)
class CountedKernel:
    """One piece that the runtime runs.

    Attributes:
        name: The runtime's name of it.
        kind: Class: operator, number, shape class.
        counts: What it does; see above.
    """

    name: str
    kind: str
    counts: Mapping[str, float]

    @property
    def pool(self) -> str:
        """The wider class that prices it when its own was never calibrated: such as `product int8` or `other fp32`."""
        operator, number = self.kind.split()[:2]
        return f"{'product' if operator in ('conv', 'product') else 'other'} {number}"


def count_file_kernels(path: Path, *, threads: int = 1, caches: Mapping[str, int] | None = None) -> tuple[CountedKernel, ...]:
    """Every kernel of one inference at batch 1.

    Args:
        path: ONNX file.
        threads: Within an operator.
        caches: Sizes in bytes of `L2` and `L3`.

    Raises:
        ConversionError: Not an ONNX file, or one that the runtime does not take.
        DeviceError: Shapes cannot be told.
    """
    try:
        stamp = path.stat()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise ConversionError(msg) from error
    sizes = (caches or {}).get("L2", L2_BYTES), (caches or {}).get("L3", L3_BYTES)
    return _kernels_of(path, (stamp.st_mtime_ns, stamp.st_size), threads, sizes)


@lru_cache(maxsize=32)
def _kernels_of(path: Path, _stamp: tuple[int, int], threads: int, caches: tuple[int, int]) -> tuple[CountedKernel, ...]:
    """Kept for as long as the file's time and size stay the same."""
    graph, shapes = optimize_graph(path, threads=threads)
    return count_kernels(graph, shapes, caches)


def count_kernels(graph: onnx.GraphProto, shapes: Mapping[str, Shape], caches: tuple[int, int]) -> tuple[CountedKernel, ...]:
    """Kernels of an optimized graph.

    Args:
        graph: What the runtime would run.
        shapes: Of its tensors.
        caches: Bytes of the second-level and of the last-level cache.
    """
    reader = _Reader(graph, shapes, caches)
    return tuple(map(reader.kernel, graph.node))


class _Reader:
    """Counts of single nodes, with what they share: shapes, widths of elements, and where the weights are found."""

    def __init__(self, graph: onnx.GraphProto, shapes: Mapping[str, Shape], caches: tuple[int, int]) -> None:
        self.shapes = shapes
        self.stored = {item.name: prod(item.dims) * WIDTHS.get(item.data_type, 4) for item in graph.initializer}
        self.widths = {item.name: 4 for item in graph.input}
        self.l2, last = caches
        total = sum(self.stored.values())
        self.l2_miss = float(total > self.l2)
        # what the last-level cache has lost when weights are wanted again: nothing up to half of its size
        self.llc_miss = min(1.0, max(0.0, 2 * total / last - 1))

    def kernel(self, node: onnx.NodeProto) -> CountedKernel:
        """One node; in graph order, for the widths of its inputs are those that the nodes before it gave."""
        given = attributes(node)
        width = _width(node, self.widths.get(node.input[0], 4)) if node.input else 4
        self.widths |= dict.fromkeys(node.output, width)
        if node.op_type in CONVOLUTIONS:
            operator, shape_class, counts = "conv", *self._convolution(node, given)
        elif node.op_type in PRODUCTS:
            operator, shape_class, counts = "product", *self._product(node, given)
        elif node.op_type in VIEWS or not node.input:
            operator, shape_class, counts = "view", "", {}
        else:
            operator, shape_class, counts = node.op_type, *self._other(node, given)
        number = "int8" if width == 1 or node.op_type in FROM_INT8 else "fp32"
        counts |= self._moved(node, width)
        kept = {name: float(value) for name, value in counts.items() if value}
        return CountedKernel(node.name, " ".join(filter(None, (operator, number, shape_class))), kept)

    def _moved(self, node: onnx.NodeProto, width: int) -> Counts:
        """Elements and bytes in and out."""
        outputs = sum(prod(self.shapes[name]) for name in node.output if name)
        streamed = node.op_type in CONVOLUTIONS | PRODUCTS or (
            node.op_type == "DequantizeLinear" and node.input[0] in self.stored
        )
        count_kernels = [name for name in dict.fromkeys(node.input) if name and not (streamed and name in self.stored)]
        inputs = sum(prod(self.shapes[name]) for name in count_kernels)
        bytes_moved = outputs * width + sum(prod(self.shapes[name]) * self.widths.get(name, 4) for name in count_kernels)
        weights = sum(self.stored.get(name, 0) for name in set(node.input)) * streamed
        return {
            "outputs": outputs,
            "inputs": inputs,
            "l2_spill_bytes": bytes_moved * (bytes_moved > self.l2),
            "l2_miss_bytes": weights * self.l2_miss,
            "llc_miss_bytes": weights * self.llc_miss,
        }

    def _convolution(self, node: onnx.NodeProto, given: Mapping[str, Any]) -> tuple[str, Counts]:
        weight, out = self.shapes[weight_name(node)], self.shapes[node.output[0]]
        space = out[1:-1] if given.get("channels_last") else out[2:]
        groups, taps = given.get("group", 1), prod(weight[2:])
        channels, filters = weight[1], weight[0] // groups
        blocked = node.domain == BLOCKED
        strided = "/2" if max(given.get("strides") or [1]) > 1 else ""
        pixels = prod(space)
        gathered = "" if blocked or node.op_type == "QLinearConv" else " gathered"
        if groups > 1 and channels == 1:
            products = pixels * weight[0] * taps
            counts = {"macs": products, "tiles": products / space[-1] * _up(space[-1], TILE), "pieces": prod(space[:-1])}
            counts |= {"unaligned_macs": products * (weight[0] % LANES > 0), "rows": pixels}
            return f"depthwise{gathered}" if gathered else f"depthwise{3 if taps == 9 else ''}{strided}", counts
        shape_class = (
            "vector" if pixels == 1 else "grouped" if groups > 1 else "stem" if channels < DOT
            else "pointwise" if taps == 1 else "dense"
        ) + (strided if blocked else "") + gathered  # fmt: skip
        tiled = _up(pixels, TILE) if taps == 1 or not blocked else pixels / space[-1] * _up(space[-1], TILE)
        counts = _product(pixels, tiled, channels * taps, filters, groups, channels)
        return shape_class, counts | {"copies": pixels * taps * groups * (taps > 1 and not blocked)}

    def _product(self, node: onnx.NodeProto, given: Mapping[str, Any]) -> tuple[str, Counts]:
        first, out = undo_fused_transpose(self.shapes[node.input[0]], given.get("transBatchA", 0)), self.shapes[node.output[0]]
        depth = first[-2 if given.get("transA") else -1]
        if weight_name(node) in self.stored:
            rows = prod(out[:-1])
            return "vector" if rows == 1 else "matrix", _product(rows, _up(rows, TILE), depth, out[-1], 1, depth)
        times, rows = prod(out[:-2]), out[-2] if len(out) > 1 else 1
        weighed = "matrix" if self.widths.get(weight_name(node)) == 4 and times == 1 else "computed"
        return weighed, _product(rows, _up(rows, TILE), depth, out[-1], times, depth)

    def _other(self, node: onnx.NodeProto, given: Mapping[str, Any]) -> tuple[str, Counts]:
        """Operators that are bound by moving data."""
        first, out = self.shapes[node.input[0]], self.shapes[node.output[0]]
        blocked = "blocked" if node.domain == BLOCKED else ""
        if "kernel_shape" in given:
            return blocked, {
                "macs": prod(out) * prod(given["kernel_shape"]),
                "unaligned_macs": prod(out) * (first[-1] % LANES > 0),
            }
        if node.op_type == "Transpose":
            return _turn(first, given.get("perm") or tuple(range(len(first))[::-1]))
        if node.op_type in ("Concat", "QLinearConcat", "Split"):
            whole = first if node.op_type == "Split" else out
            runs = prod(whole[: given.get("axis", 0) % len(whole)])
            return "", {"pieces": runs * max(len(node.output), len(node.input) // (3 if node.op_type[0] == "Q" else 1))}
        if node.op_type.startswith("Reorder"):
            return "last" if given.get("channels_last") else "", {}
        if node.op_type == "DequantizeLinear" and node.input[0] in self.stored:
            return "weights" if not given.get("axis", 1) else "weights across", {"pieces": prod(first[:-1])}
        told = [self.shapes[name] for name in node.input if name and name not in self.stored]
        alike = len({prod(shape) for shape in told if prod(shape) > 1}) < 2
        return blocked if alike else "broadcast", {"pieces": prod(first[:-1])}


def _width(node: onnx.NodeProto, before: int) -> int:
    """Bytes of an element of what a node gives."""
    if node.op_type in FROM_INT8 - {"QGemm"} or (node.op_type == "QGemm" and len(node.input) < FULL_QGEMM):
        return 4
    return 1 if node.op_type.startswith("Q") and node.op_type != "QuickGelu" else before


def _product(rows: float, tiled: float, depth: int, filters: int, times: int, channels: int) -> Counts:
    """Counts of (rows × depth) by (depth × filters), so many times."""
    wide, deep = _up(filters, LANES), _up(depth, DOT)
    return {
        "macs": rows * deep * wide * times,
        "tiles": tiled * deep * wide * times,
        "im2col_elements": rows * depth * times * ceil(filters / PANEL),
        "partial_sums": rows * wide * times * ceil(channels / LANES),
        "pieces": times,
        "rows": rows * times,
        "unaligned_macs": rows * deep * wide * times * (depth % DOT > 0 or filters % LANES > 0),
    }


def _turn(first: Shape, order: tuple[int, ...]) -> tuple[str, Counts]:
    """A transpose, by the order of what moves: sizes of 1 do not count, and neighbours that stay neighbours are one."""
    real = [axis for axis in order if first[axis] > 1]
    ranks = [sorted(real).index(axis) for axis in real]
    starts = [rank for place, rank in enumerate(ranks) if place == 0 or rank != ranks[place - 1] + 1]
    moved = [sorted(starts).index(rank) for rank in starts]
    last = next((place for place in range(len(ranks))[::-1] if ranks[place] in starts), 0)
    run = prod(first[axis] for axis in real[last:]) if moved and moved[-1] == len(moved) - 1 else 1
    ends = [first[max(real)], first[real[-1]]] if real else [1]
    unaligned = prod(first) * any(size % DOT for size in ends)
    return "".join(map(str, moved)) if len(moved) <= LONGEST else "mixed", {
        "pieces": prod(first) / run,
        "unaligned_macs": unaligned,
    }


def _up(value: float, step: int) -> int:
    """The next multiple of `step`."""
    return ceil(value / step) * step
