"""First and second moments of what each layer reads: all that analytic bias correction, AdaRound and GPTQ need of the data.

    μ = E[x],   H = E[x xᵀ]

x is the vector that one output is a product of: for a convolution a patch (channels × kernel). Both are sums over calibration
batches, so memory does not grow with their number. Of a large feature map only some patches are taken, evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from compress import graphs
from compress.progress import Reporter, Silent
from compress.quantize.calibrate import with_outputs
from compress.quantize.layers import Layer

PATCHES = 256
"""Of one image at most."""


@dataclass(eq=False)
class Moments:
    """Of the inputs of one layer.

    Attributes:
        total: Σ x, (G, D), float64.
        products: Σ x xᵀ, (G, D, D), float32; None where not asked for.
        count: Vectors seen.
    """

    total: np.ndarray
    products: np.ndarray | None
    count: int = 0

    @property
    def mean(self) -> np.ndarray:
        """μ, (G, D)."""
        found: np.ndarray = self.total / max(self.count, 1)
        return found

    @property
    def second(self) -> np.ndarray:
        """H, (G, D, D), float32."""
        if self.products is None:
            msg = "second moments were not collected; ask `collect` for them"
            raise TypeError(msg)
        return self.products / np.float32(max(self.count, 1))

    def add(self, x: np.ndarray) -> None:
        """Take vectors in, (n, G, D)."""
        self.total += x.sum(0, dtype=np.float64)
        self.count += len(x)
        if self.products is not None:
            turned = x.transpose(1, 0, 2)
            self.products += turned.transpose(0, 2, 1) @ turned


def collect(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    batches: Sequence[np.ndarray],
    *,
    second: bool = True,
    reporter: Reporter | None = None,
) -> dict[str, Moments]:
    """Moments by layer name.

    Args:
        model: Float network.
        layers: Of it.
        batches: Inputs, float32 (N, C, H, W) each.
        second: Collect H as well as μ.
        reporter: Shows a bar.
    """
    given = model.graph.input[0].name
    watched = list(dict.fromkeys(layer.input for layer in layers if layer.input != given))
    runner = graphs.session(with_outputs(model, watched), threads=0)
    nodes = {node.name: node for node in model.graph.node}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found: dict[str, Moments] = {}
    with (reporter or Silent()).bar("look at inputs of layers", len(batches)) as bar:
        for batch in batches:
            values = dict(zip(watched, runner.run(watched, {given: batch}), strict=True)) | {given: batch}
            for layer in layers:
                x = vectors(values[layer.input], layer, nodes[layer.name], shapes[layer.weight])
                if layer.name not in found:
                    size = x.shape[1:]
                    products = np.zeros((*size, size[-1]), np.float32) if second else None
                    found[layer.name] = Moments(np.zeros(size), products)
                found[layer.name].add(x)
            bar.advance()
    return found


def vectors(values: np.ndarray, layer: Layer, node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray:
    """What the outputs of a layer are products of, (n, G, D).

    Args:
        values: Its input: (N, C, H, W) of a convolution, (…, D) of a product.
        layer: The layer.
        node: Its node, for kernel, padding, stride and dilation.
        shape: Of its weight.
    """
    if layer.operator != "Conv":
        return values.reshape(-1, 1, values.shape[-1])
    given: Mapping[str, list[int]] = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    padded = torch.nn.functional.pad(torch.from_numpy(values), (left, right, top, bottom))
    dilation, stride = (tuple(given.get(name, (1, 1))) for name in ("dilations", "strides"))
    columns = torch.nn.functional.unfold(padded, shape[2:], dilation=dilation, stride=stride)
    every = -(-columns.shape[2] // PATCHES)
    patches = columns[:, :, ::every].transpose(1, 2).reshape(-1, layer.groups, columns.shape[1] // layer.groups)
    return np.ascontiguousarray(patches.numpy())
