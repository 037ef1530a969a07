"""Layers of transformers that no method of this package knows, as ordinary ones, and back for a folder of transformers."""

from __future__ import annotations

from torch import nn

from compress.models.text.experts import to_plain_experts, to_stacked_experts
from compress.models.text.plain_linear import to_conv1d, to_linear


def to_plain(network: nn.Module) -> nn.Module:
    """Replace GPT-2's `Conv1D` and Mixtral's stacked experts by linear layers, in place.

    Args:
        network: A network of transformers.

    Returns:
        The same network.
    """
    return to_plain_experts(to_linear(network))


def to_transformers(network: nn.Module, reference: nn.Module) -> None:
    """Undo `to_plain` in place.

    Args:
        network: A network after `to_plain`, with the submodules of the reference.
        reference: A network of transformers' own, newly built; parts of it are used.
    """
    to_conv1d(network, reference)
    to_stacked_experts(network, reference)
