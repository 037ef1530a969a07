"""What one layer reads, in the float network and in the rounded one: all that rounding and bias correction need of the data.

    μ = E[x],   μ̂ = E[x̂],   H = E[x̂ x̂ᵀ],   C = E[x x̂ᵀ]

x is the vector that one output is a product of: for a convolution a patch (channels × kernel); x̂ is the same vector once all
layers before are rounded. Means are over all images and places: that of patches is the patch of the mean image, for a patch
is linear in the image. The vectors themselves, which H and C are sums over, are taken at a few places of each image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from compress.quantize.ptq.weighted_layers import WeightedLayer

VECTORS = 16_384
"""Of one layer at most."""
BYTES = 2**26
"""Of one layer's vectors at most, or of the outputs that belong to them."""


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """Of the inputs of one layer.

    Attributes:
        x: Vectors in the float network, (G, n, D), float32.
        x_quantized: x̂, the same in the rounded network.
        mean: μ, (G, D), float64.
        mean_quantized: μ̂, likewise.
    """

    x: np.ndarray
    x_quantized: np.ndarray
    mean: np.ndarray
    mean_quantized: np.ndarray

    @property
    def hessian(self) -> np.ndarray:
        """H, (G, D, D), float32."""
        return _products(self.x_quantized, self.x_quantized)

    @property
    def cross_moment(self) -> np.ndarray:
        """C, (G, D, D), float32."""
        return _products(self.x, self.x_quantized)

    def centered(self) -> LayerInputs:
        """The same about the means, for a layer whose bias will take their shift back."""
        x, found = (
            one - mean[:, None].astype(np.float32)
            for one, mean in ((self.x, self.mean), (self.x_quantized, self.mean_quantized))
        )
        return LayerInputs(x, found, self.mean, self.mean_quantized)

    def error(self, w: np.ndarray, rounded: np.ndarray) -> np.ndarray:
        """E[(W x − W̃ x̂)²] of each output, (G, K)."""
        outputs = (
            torch.from_numpy(x) @ torch.from_numpy(one).transpose(1, 2) for x, one in ((self.x, w), (self.x_quantized, rounded))
        )
        found: np.ndarray = next(outputs).sub_(next(outputs)).square_().mean(1).numpy()
        return found


def collect_inputs(
    layer: WeightedLayer,
    node: onnx.NodeProto,
    weight: np.ndarray,
    exact: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    *,
    seed: int,
) -> LayerInputs:
    """Vectors and means of one layer.

    Args:
        layer: The layer.
        node: Its node, for kernel, padding, stride and dilation.
        weight: As stored.
        exact: Its inputs in the float network, batch by batch: (N, C, H, W) of a convolution, (N, …, D) of a product.
        found: Likewise in the rounded one; may be the very same arrays.
        seed: Of the places.
    """
    kernel = weight.shape[2:] if layer.operator == "Conv" else None
    w = layer.to_matrix(weight)
    images = sum(map(len, exact))
    affordable = min(VECTORS, BYTES // (4 * w.shape[0] * max(w.shape[1:])))
    each = max(1, affordable // images)
    vectors: tuple[list[Tensor], list[Tensor]] = ([], [])
    random = np.random.default_rng(seed)
    for pair in zip(exact, found, strict=True):
        views = [_view(one, node, kernel) for one in pair]
        places = np.sort(random.permutation(views[0].shape[1] * views[0].shape[2])[:each])
        rows, columns = (torch.from_numpy(one) for one in np.divmod(places, views[0].shape[2]))
        for taken, view in zip(vectors, views, strict=True):
            taken.append(view[:, rows, columns].reshape(-1, w.shape[0], w.shape[2]))
    x, other = (np.ascontiguousarray(torch.cat(one).transpose(0, 1).numpy()) for one in vectors)
    return LayerInputs(x, other, *(_mean(one, node, kernel).reshape(w.shape[0], w.shape[2]) for one in (exact, found)))


def _view(values: np.ndarray, node: onnx.NodeProto, kernel: tuple[int, ...] | None) -> Tensor:
    """All vectors of a batch without copying them, (N, rows, columns, C, kh, kw) or (N, places, 1, D)."""
    if kernel is None:
        return torch.from_numpy(values.reshape(len(values), -1, 1, values.shape[-1]))
    given: Mapping[str, list[int]] = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    view = torch.nn.functional.pad(torch.from_numpy(values), (left, right, top, bottom))
    dilation, stride = (tuple(given.get(name, (1, 1))) for name in ("dilations", "strides"))
    for axis in (0, 1):
        view = view.unfold(2 + axis, dilation[axis] * (kernel[axis] - 1) + 1, stride[axis])
    return view[..., :: dilation[0], :: dilation[1]].permute(0, 2, 3, 1, 4, 5)


def _mean(batches: Sequence[np.ndarray], node: onnx.NodeProto, kernel: tuple[int, ...] | None) -> np.ndarray:
    """Mean vector over all images and places, (C · kh · kw,) or (D,), float64."""
    image = sum(one.sum(0, dtype=np.float64) for one in batches) / sum(map(len, batches))
    found: np.ndarray = _view(np.asarray(image)[None], node, kernel).mean((0, 1, 2)).numpy().reshape(-1)
    return found


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """E[a bᵀ], (G, D, D)."""
    found: np.ndarray = (torch.from_numpy(a).transpose(1, 2) @ torch.from_numpy(b) / a.shape[1]).numpy()
    return found
