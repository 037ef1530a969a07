"""Statistics of the inputs of one layer in the float and in the quantized network, for rounding and bias correction.

    μ = E[x],   μ̂ = E[x̂],   H = E[x̂ x̂ᵀ],   C = E[x x̂ᵀ]

x is the input vector of one output: for a convolution a patch (channels × kernel); x̂ is the same vector with all earlier
layers rounded. Means are over all images and positions: the mean patch is the patch of the mean image, because the extraction
of patches is linear. H and C are over vectors sampled at a few positions of each image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compress.backends import onnx_graph as graphs
from compress.quantize.ptq.weighted_layers import WeightedLayer

MAX_VECTORS = 16_384
"""Largest number of vectors per layer."""
MAX_BYTES = 2**26
"""Largest size of the vectors of a layer, and of the outputs for them."""


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """Statistics of the inputs of one layer.

    Attributes:
        x: Vectors x in the float network, (G, n, D), float32.
        x_quantized: Vectors x̂ in the quantized network, (G, n, D), float32.
        mean: μ, (G, D), float64.
        mean_quantized: μ̂, (G, D), float64.
    """

    x: np.ndarray
    x_quantized: np.ndarray
    mean: np.ndarray
    mean_quantized: np.ndarray

    @property
    def hessian(self) -> np.ndarray:
        """H, (G, D, D), float32."""
        return _mean_product(self.x_quantized, self.x_quantized)

    @property
    def cross_moment(self) -> np.ndarray:
        """C, (G, D, D), float32."""
        return _mean_product(self.x, self.x_quantized)

    def centered(self) -> LayerInputs:
        """A copy with the means subtracted from the vectors, for a layer whose bias is corrected for their shift."""
        x = self.x - self.mean[:, None].astype(np.float32)
        x_quantized = self.x_quantized - self.mean_quantized[:, None].astype(np.float32)
        return LayerInputs(x, x_quantized, self.mean, self.mean_quantized)

    def error(self, w: np.ndarray, w_quantized: np.ndarray) -> np.ndarray:
        """E[(W x − W̃ x̂)²] of each output channel, (G, K), for W and W̃ (G, K, D)."""
        y = torch.from_numpy(self.x) @ torch.from_numpy(w).transpose(1, 2)
        y_quantized = torch.from_numpy(self.x_quantized) @ torch.from_numpy(w_quantized).transpose(1, 2)
        error: np.ndarray = y.sub_(y_quantized).square_().mean(1).numpy()
        return error


def collect_inputs(
    layer: WeightedLayer,
    node: ir.Node,
    weight: np.ndarray,
    inputs: Sequence[np.ndarray],
    inputs_quantized: Sequence[np.ndarray],
    *,
    seed: int,
) -> LayerInputs:
    """Collect the input statistics of one layer.

    Args:
        layer: The layer.
        node: Its node, for padding, stride and dilation.
        weight: Its weight in the shape of the initializer.
        inputs: Inputs in the float network by batch: (N, C, H, W) for a convolution, (N, …, D) for a matrix product.
        inputs_quantized: Inputs in the quantized network; may be the same arrays.
        seed: Seed for the sampled positions.
    """
    kernel = weight.shape[2:] if layer.operator == "Conv" else None
    settings = graphs.attributes(node)
    w = layer.to_matrix(weight)
    images = sum(map(len, inputs))
    max_vectors = min(MAX_VECTORS, MAX_BYTES // (4 * w.shape[0] * max(w.shape[1:])))
    per_image = max(1, max_vectors // images)
    vectors: tuple[list[Tensor], list[Tensor]] = ([], [])
    random = np.random.default_rng(seed)
    for batches in zip(inputs, inputs_quantized, strict=True):
        patches = [_patches(batch, settings, kernel) for batch in batches]
        positions = np.sort(random.permutation(patches[0].shape[1] * patches[0].shape[2])[:per_image])
        rows, columns = (torch.from_numpy(indices) for indices in np.divmod(positions, patches[0].shape[2]))
        for samples, view in zip(vectors, patches, strict=True):
            samples.append(view[:, rows, columns].reshape(-1, w.shape[0], w.shape[2]))
    x, x_quantized = (np.ascontiguousarray(torch.cat(samples).transpose(0, 1).numpy()) for samples in vectors)
    means = (_mean_vector(batches, settings, kernel).reshape(w.shape[0], w.shape[2]) for batches in (inputs, inputs_quantized))
    return LayerInputs(x, x_quantized, *means)


def _patches(batch: np.ndarray, settings: Mapping[str, Any], kernel: tuple[int, ...] | None) -> Tensor:
    """View of all vectors of a batch, (N, rows, columns, C, kh, kw) or (N, positions, 1, D)."""
    if kernel is None:
        return torch.from_numpy(batch.reshape(len(batch), -1, 1, batch.shape[-1]))
    top, left, bottom, right = settings.get("pads", [0, 0, 0, 0])
    view = torch.nn.functional.pad(torch.from_numpy(batch), (left, right, top, bottom))
    dilation, stride = (tuple(settings.get(name, (1, 1))) for name in ("dilations", "strides"))
    for axis in (0, 1):
        view = view.unfold(2 + axis, dilation[axis] * (kernel[axis] - 1) + 1, stride[axis])
    return view[..., :: dilation[0], :: dilation[1]].permute(0, 2, 3, 1, 4, 5)


def _mean_vector(batches: Sequence[np.ndarray], settings: Mapping[str, Any], kernel: tuple[int, ...] | None) -> np.ndarray:
    """Mean vector over all images and positions, (C · kh · kw,) or (D,), float64."""
    if kernel is None:  # texts of several lengths
        total = sum(batch.reshape(-1, batch.shape[-1]).sum(0, dtype=np.float64) for batch in batches)
        return np.asarray(total / sum(batch.size // batch.shape[-1] for batch in batches))
    image = sum(batch.sum(0, dtype=np.float64) for batch in batches) / sum(map(len, batches))
    mean: np.ndarray = _patches(np.asarray(image)[None], settings, kernel).mean((0, 1, 2)).numpy().reshape(-1)
    return mean


def _mean_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """E[a bᵀ], (G, D, D)."""
    product: np.ndarray = (torch.from_numpy(a).transpose(1, 2) @ torch.from_numpy(b) / a.shape[1]).numpy()
    return product
