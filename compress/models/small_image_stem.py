"""A stem for small images, with less downsampling in the first layers.

Networks for 224 pixels halve the resolution two to three times before their first stage. Of 32 to 64 pixels little remains,
so the first convolution gets stride 1 and the max-pooling of the stem is removed, as in the CIFAR networks of
He et al. 2016 (arXiv:1512.03385, section 4.2). Kernels keep their shape, so pretrained weights still fit.
"""

from __future__ import annotations

from torch import nn

from compress.core.fact import Fact
from compress.models.fit_to_data import first_convolution


def use_small_stem(module: nn.Module) -> list[Fact]:
    """Change the stem in place; returns facts about the changes, or why there are none.

    A patch embedding (kernel not larger than its stride) is not changed, since with stride 1 its patches would overlap.
    """
    first = first_convolution(module)
    if first is None:
        return [Fact.of("models.small_stem_no_convolution")]
    name, layer = first
    if max(layer.stride) == 1:
        return [Fact.of("models.small_stem_has_stride_1", name)]
    if any(size <= stride for size, stride in zip(layer.kernel_size, layer.stride, strict=True)):
        return [Fact.of("models.small_stem_cuts_patches", name, kernel_size=layer.kernel_size)]
    notes = [Fact.of("models.small_stem_stride", name, stride=layer.stride[0])]
    layer.stride = (1, 1)
    pool = _stem_pool(module, name)
    if pool is not None:
        owner, _, leaf = pool.rpartition(".")
        setattr(module.get_submodule(owner), leaf, nn.Identity())
        notes.append(Fact.of("models.small_stem_pooling_removed", pool))
    return notes


def _stem_pool(module: nn.Module, first: str) -> str | None:
    """Name of the first max-pooling before the first stage, that is, before a convolution outside the stem."""
    home = first.rpartition(".")[0]
    after = False
    name: str
    for name, layer in module.named_modules():
        if not after:
            after = name == first
        elif isinstance(layer, nn.MaxPool2d):
            return name
        elif isinstance(layer, nn.Conv2d) and name.rpartition(".")[0] != home:
            return None
    return None
