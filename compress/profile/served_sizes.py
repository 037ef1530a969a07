"""The sizes of free axes at which a network is used, such as sequence lengths: the typical ones and the largest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compress.backends.runner_protocol import Array, Feeds
from compress.core.signature import BATCH, Signature

Sizes = Mapping[str, int]


def served_sizes(signature: Signature) -> tuple[Sizes, ...]:
    """Typical sizes of the free axes except the batch, then the largest where they differ; empty without such axes."""
    axes = [axis for axis in signature.free_axes if axis != BATCH]
    if not axes or any(axis not in signature.sizes for axis in axes):
        return ()
    typical = {axis: signature.sizes[axis].typical for axis in axes}
    most = {axis: signature.sizes[axis].most for axis in axes}
    return (typical,) if most == typical else (typical, most)


def describe_sizes(sizes: Sizes) -> str:
    """Sizes as text: `sequence 64`."""
    return ", ".join(f"{axis} {size}" for axis, size in sizes.items())


def served_feeds(signature: Signature, batch: int) -> dict[str, Feeds]:
    """Example inputs without padding by description of the sizes, in the order of `served_sizes`."""
    return {describe_sizes(sizes): _example(signature, batch, sizes) for sizes in served_sizes(signature)}


def padded_example(signature: Signature) -> Feeds:
    """Two example samples of typical sizes; the second half of the second one is padding, by every input that is a mask."""
    sizes = served_sizes(signature)
    example = _example(signature, 2, sizes[0] if sizes else {})
    for spec in signature.inputs:
        if "mask" in spec.name and not spec.is_continuous and len(spec.shape) == 2:
            example[spec.name][:] = 1
            example[spec.name][1, example[spec.name].shape[1] // 2 :] = 0
    return example


def _example(signature: Signature, batch: int, sizes: Sizes) -> dict[str, Array]:
    tensors = signature.example(batch, sizes=sizes)
    return {name: np.array(tensor.numpy()) for name, tensor in tensors.items()}
