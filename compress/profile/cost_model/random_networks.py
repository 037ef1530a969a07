"""Small random networks of the kinds found in vision, to calibrate a cost model on: their shapes are drawn, not copied.

    image ─► stem ─► 3 to 7 blocks of random families, widths and strides ─► pool ─► product

A block's width follows from a drawn amount of work at its resolution, so that late blocks are wide and early ones narrow, as in
networks that people use. Weights are random; only their sizes matter to time.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 18, 9
SIDES = (7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
"""Of the maps after the stem."""
LEAST_MACS, MOST_MACS = 2e6, 5e7
"""Of one block; drawn evenly on a logarithmic scale."""
LARGE = 0.1
"""Share of networks that end in products whose weights no cache holds."""


def random_network(seed: int) -> onnx.ModelProto:
    """The network of a seed: input `input`, (batch, 3, S, S) float32; output `logits`."""
    draw = np.random.default_rng(seed)
    net = _GraphBuilder(draw)
    family = FAMILIES[seed % len(FAMILIES)]
    side = int(draw.choice(SIDES))
    stride = int(draw.choice([2, 2, 4])) if side > 14 else 4
    kernel = 4 if stride == 4 and draw.random() < 0.5 else int(draw.choice([3, 3, 7]))
    x = net.start(side * stride)
    x = net.act(net.conv(x, net.width(side, 27), kernel, stride, padded=kernel != 4), "Relu")
    if draw.random() < 0.4 and side > 14:
        x = net.pool(x, 3, 2)
    for _ in range(int(draw.integers(3, 8))):
        chosen = family if draw.random() < 0.7 else FAMILIES[int(draw.integers(len(FAMILIES)))]
        x = chosen(net, x, 2 if net.side(x) > 10 and draw.random() < 0.35 else 1)
    return net.finish(x, large=bool(draw.random() < LARGE))


class _GraphBuilder:
    """A graph as it grows; every tensor's shape is known."""

    def __init__(self, draw: np.random.Generator) -> None:
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.noise = draw.normal(size=1 << 16).astype(np.float32)

    def start(self, side: int) -> str:
        self.shapes["input"] = (1, 3, side, side)
        return "input"

    def side(self, x: str) -> int:
        return self.shapes[x][2]

    def channels(self, x: str) -> int:
        return self.shapes[x][1]

    def width(self, side: int, products: float, step: int = 0) -> int:
        """Channels at which `products` × channels² × side² is a drawn amount of work; with 27, channels alone count."""
        macs = np.exp(self.draw.uniform(np.log(LEAST_MACS), np.log(MOST_MACS)))
        found = macs / (products * side**2) if products == 27 else sqrt(macs / (products * side**2))
        step = step or int(self.draw.choice([8, 8, 16, 32]))
        most = 96 if products == 27 else 2048
        return int(min(most, max(16, round(found / step) * step)))

    def op(self, kind: str, *inputs: str, shape: tuple[int, ...], **given: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"n{len(self.nodes)}", **given))
        self.shapes[name] = shape
        return name

    def weight(self, *shape: int, fan_in: int = 0) -> str:
        """Random values, repeated where there are many, so that they are quick to make."""
        values = np.resize(self.noise, prod(shape)) / sqrt(fan_in or 1)
        return self.constant(values.astype(np.float32).reshape(shape))

    def constant(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(self, x: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, padded: bool = True) -> str:
        _, channels, side, _ = self.shapes[x]
        pad = kernel // 2 if padded else 0
        after = (side + 2 * pad - kernel) // stride + 1
        weight = self.weight(filters, channels // groups, kernel, kernel, fan_in=channels // groups * kernel**2)
        given = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "group": groups}
        return self.op("Conv", x, weight, self.weight(filters), shape=(1, filters, after, after), **given)

    def pool(self, x: str, kernel: int, stride: int, kind: str = "MaxPool") -> str:
        _, channels, side, _ = self.shapes[x]
        pad = kernel // 2 if stride == 1 or kernel % 2 else 0
        after = (side + 2 * pad - kernel) // stride + 1
        given = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.op(kind, x, shape=(1, channels, after, after), **given)

    def act(self, x: str, kind: str) -> str:
        shape = self.shapes[x]
        if kind == "Relu6":
            return self.op("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)), shape=shape)
        if kind == "Silu":
            return self.op("Mul", x, self.op("Sigmoid", x, shape=shape), shape=shape)
        if kind == "Gelu":
            scaled = self.op("Div", x, self.constant(np.float32(sqrt(2))), shape=shape)
            shifted = self.op("Add", self.op("Erf", scaled, shape=shape), self.constant(np.float32(1)), shape=shape)
            return self.op("Mul", x, self.op("Mul", self.constant(np.float32(0.5)), shifted, shape=shape), shape=shape)
        return self.op(kind, x, shape=shape)

    def add(self, a: str, b: str) -> str:
        return self.op("Add", a, b, shape=self.shapes[a])

    def concat(self, *parts: str) -> str:
        _, _, *space = self.shapes[parts[0]]
        return self.op("Concat", *parts, axis=1, shape=(1, sum(map(self.channels, parts)), *space))

    def reshape(self, x: str, *shape: int) -> str:
        """To a shape whose first size is the batch."""
        return self.op("Reshape", x, self.constant(np.array([-1, *shape[1:]], np.int64)), shape=shape)

    def turn(self, x: str, *order: int) -> str:
        return self.op("Transpose", x, perm=order, shape=tuple(self.shapes[x][axis] for axis in order))

    def normed(self, x: str) -> str:
        size = self.shapes[x][-1]
        return self.op("LayerNormalization", x, self.weight(size), self.weight(size), axis=-1, shape=self.shapes[x])

    def gemm(self, x: str, units: int) -> str:
        rows, size = self.shapes[x]
        return self.op("Gemm", x, self.weight(units, size, fan_in=size), self.weight(units), transB=1, shape=(rows, units))

    def linear(self, x: str, units: int) -> str:
        """As exporters write a linear layer of several rows: a product, and a sum."""
        *rows, size = self.shapes[x]
        product = self.op("MatMul", x, self.weight(size, units, fan_in=size), shape=(*rows, units))
        return self.op("Add", product, self.weight(units), shape=(*rows, units))

    def finish(self, x: str, *, large: bool) -> onnx.ModelProto:
        """Pool, one product or three, and close the graph."""
        channels = self.channels(x)
        space = int(self.draw.choice([1, 6])) if large and self.side(x) >= 6 and channels <= 256 else 1
        if space == 1:
            x = self.op("GlobalAveragePool", x, shape=(1, channels, 1, 1))
        else:
            x = self.pool(x, self.side(x) // space, self.side(x) // space, "AveragePool")
        flat = self.reshape(x, 1, prod(self.shapes[x]))
        for _ in range(2 * large):
            flat = self.act(self.gemm(flat, int(self.draw.choice([1024, 2048, 3072]))), "Relu")
        last = self.gemm(flat, int(self.draw.choice([10, 100, 500, 1000])))
        self.nodes[-1].output[0] = "logits"
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("input", ["batch", *self.shapes["input"][1:]]), ("logits", ["batch", self.shapes[last][1]]))
        ]
        graph = helper.make_graph(self.nodes, "specimen", values[:1], values[1:], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _excited(net: _GraphBuilder, x: str, kinds: tuple[str, str]) -> str:
    """Squeeze and excitation: channels weighted by what a small network makes of their means."""
    channels = net.channels(x)
    mean = net.op("GlobalAveragePool", x, shape=(1, channels, 1, 1))
    hidden = net.act(net.conv(mean, max(8, channels // int(net.draw.choice([4, 8, 16])))), kinds[0])
    return net.op("Mul", net.act(net.conv(hidden, channels), kinds[1]), x, shape=net.shapes[x])


def _plain(net: _GraphBuilder, x: str, stride: int) -> str:
    """One or two convolutions of 3×3 or 5×5, with a sum around them where the shape stays."""
    kernel = int(net.draw.choice([3, 3, 3, 5]))
    width = net.width(net.side(x) // stride, 2 * kernel**2)
    y = net.act(net.conv(x, width, kernel, stride), "Relu")
    y = net.conv(y, width, kernel)
    straight = x if stride == 1 and net.channels(x) == width else net.conv(x, width, 1, stride)
    return net.act(net.add(y, straight), "Relu")


def _bottleneck(net: _GraphBuilder, x: str, stride: int) -> str:
    """1×1, 3×3 in groups or not, 1×1; squeeze and excitation in some."""
    side = net.side(x) // stride
    width = net.width(side, 17)
    size = int(net.draw.choice([0, 0, 4, 8, 16, 32]))
    groups = width // size if size and width % size == 0 else 1
    y = net.act(net.conv(x, width), "Relu")
    y = net.act(net.conv(y, width, 3, stride, groups), "Relu")
    if groups > 1 and net.draw.random() < 0.5:
        y = _excited(net, y, ("Relu", "Sigmoid"))
    wide = width * int(net.draw.choice([1, 4]))
    straight = x if stride == 1 and net.channels(x) == wide else net.conv(x, wide, 1, stride)
    return net.act(net.add(net.conv(y, wide), straight), "Relu")


def _mobile(net: _GraphBuilder, x: str, stride: int) -> str:
    """Inverted bottleneck around a depthwise convolution."""
    ratio = int(net.draw.choice([3, 4, 6]))
    width = net.width(net.side(x), 2 * ratio)
    activation = str(net.draw.choice(["Relu", "Relu6", "HardSwish", "Silu"]))
    narrow = net.conv(x, width) if net.channels(x) > 1.5 * width or net.draw.random() < 0.3 else x
    wide = net.channels(narrow) * ratio
    y = net.act(net.conv(narrow, wide), activation)
    y = net.act(net.conv(y, wide, int(net.draw.choice([3, 3, 5])), stride, wide), activation)
    if activation in ("HardSwish", "Silu") and net.draw.random() < 0.6:
        y = _excited(net, y, ("Relu", "HardSigmoid") if activation == "HardSwish" else ("Silu", "Sigmoid"))
    y = net.conv(y, net.channels(narrow))
    return net.add(y, narrow) if stride == 1 else y


def _branches(net: _GraphBuilder, x: str, stride: int) -> str:
    """Convolutions of several sizes side by side, concatenated."""
    width = net.width(net.side(x) // stride, 20)
    y = net.pool(x, 3, stride) if stride > 1 else x
    small = net.act(net.conv(y, width), "Relu")
    large = net.act(net.conv(small, int(width * net.draw.choice([1, 1.5, 2])) // 8 * 8, 3), "Relu")
    parts = [net.act(net.conv(y, width), "Relu"), large]
    if net.draw.random() < 0.5:
        parts.append(net.act(net.conv(net.pool(y, 3, 1), max(8, width // 16 * 8)), "Relu"))
    return net.concat(*parts)


def _dense(net: _GraphBuilder, x: str, stride: int) -> str:
    """Every layer reads all before it: normalized, 1×1, 3×3, concatenated."""
    growth = int(net.draw.choice([16, 24, 32, 48]))
    y = net.pool(net.act(net.conv(x, max(16, net.channels(x) // 16 * 8)), "Relu"), 2, 2, "AveragePool") if stride > 1 else x
    for _ in range(int(net.draw.integers(2, 5))):
        ones = [net.weight(net.channels(y)) for _ in range(3)]
        variance = net.constant(np.ones(net.channels(y), np.float32))
        normed = net.op("BatchNormalization", y, *ones, variance, shape=net.shapes[y])
        inner = net.act(net.conv(net.act(normed, "Relu"), 4 * growth), "Relu")
        y = net.concat(y, net.conv(inner, growth, 3))
    return y


def _shuffle(net: _GraphBuilder, x: str, stride: int) -> str:
    """Half of the channels through a depthwise bottleneck, then all of them mixed."""
    half = net.width(net.side(x) // stride, 3, int(net.draw.choice([2, 2, 8])))
    if stride > 1:
        left, right = net.conv(net.conv(x, net.channels(x), 3, 2, net.channels(x)), half), x
    else:
        whole = x if net.channels(x) % 2 == 0 else net.conv(x, 2 * half)
        half = net.channels(whole) // 2
        right = net.op("Split", whole, net.constant(np.array([half, half])), axis=1, shape=(1, half, *net.shapes[x][2:]))
        left = f"{right}_left"
        net.nodes[-1].output[:] = [left, right]
        net.shapes[left] = net.shapes[right]
    right = net.act(net.conv(right, half), "Relu")
    right = net.act(net.conv(net.conv(right, half, 3, stride, half), half), "Relu")
    y = net.concat(left, right)
    side = net.side(y)
    return net.reshape(net.turn(net.reshape(y, 1, 2, half, side, side), 0, 2, 1, 3, 4), 1, 2 * half, side, side)


def _wide_kernel(net: _GraphBuilder, x: str, stride: int) -> str:
    """7×7 depthwise, then a perceptron on each pixel, channels last."""
    width = net.width(net.side(x) // stride, 8)
    y = net.conv(x, width, stride, stride, padded=False) if stride > 1 or net.channels(x) != width else x
    rows = net.turn(net.conv(y, width, 7, 1, width), 0, 2, 3, 1)
    hidden = net.act(net.linear(net.normed(rows), 4 * width), "Gelu")
    last = net.turn(net.linear(hidden, width), 0, 3, 1, 2)
    return net.add(last, y)


def _attention(net: _GraphBuilder, x: str, stride: int) -> str:
    """Multi-head attention over pixels, and a perceptron."""
    size = int(net.draw.choice([32, 64]))
    y = net.pool(x, 2, 2) if stride > 1 or net.side(x) > 16 else x
    while net.side(y) > 16:
        y = net.pool(y, 2, 2)
    side = net.side(y)
    tokens, width = side**2, min(1024, max(64, net.width(side, 12) // size * size))
    heads = width // size
    y = net.conv(y, width)
    rows = net.reshape(net.turn(y, 0, 2, 3, 1), 1, tokens, width)
    packed = net.reshape(net.linear(net.normed(rows), 3 * width), 1, tokens, 3, heads, size)
    split = net.turn(packed, 2, 0, 3, 1, 4)
    shape = 1, heads, tokens, size
    parts = [net.op("Gather", split, net.constant(np.int64(place)), axis=0, shape=shape) for place in range(3)]
    scores = net.op("MatMul", parts[0], net.turn(parts[1], 0, 1, 3, 2), shape=(1, heads, tokens, tokens))
    scaled = net.op("Mul", scores, net.constant(np.float32(size**-0.5)), shape=net.shapes[scores])
    mixed = net.op("MatMul", net.act(scaled, "Softmax"), parts[2], shape=shape)
    rows = net.add(rows, net.linear(net.reshape(net.turn(mixed, 0, 2, 1, 3), 1, tokens, width), width))
    rows = net.add(rows, net.linear(net.act(net.linear(net.normed(rows), 4 * width), "Gelu"), width))
    return net.turn(net.reshape(rows, 1, side, side, width), 0, 3, 1, 2)


FAMILIES: tuple[Callable[[_GraphBuilder, str, int], str], ...] = (
    _plain, _bottleneck, _mobile, _mobile, _branches, _dense, _shuffle, _wide_kernel, _attention, _bottleneck, _shuffle,
)  # fmt: skip
