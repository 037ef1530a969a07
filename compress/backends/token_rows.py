"""Outputs of the same texts in batches of different sizes: each batch is as long as its longest text.

A text has outputs at the places of its padding too, as many as its batch has; they have no meaning. Two networks whose batches
differ in size, such as a float network and one with ranges of each batch, are compared without them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compress.data.batch import TARGET, Batch, Tensors
from compress.data.text.settings import DECODER_IDS
from compress.data.text.split import MASK


def same_length(a: Tensors, b: Tensors) -> tuple[Tensors, Tensors]:
    """Outputs of two networks for the same texts, cut to the shorter of both batches.

    Args:
        a: Named outputs, (N, L, …) or without an axis of tokens.
        b: The same, with another L.
    """
    lengths = {
        name: min(values.shape[1], b[name].shape[1]) for name, values in a.items() if values.ndim > 1 and b[name].ndim > 1
    }
    first, second = (
        {name: each[name][:, : lengths.get(name)] if name in lengths else each[name] for name in each} for each in (a, b)
    )
    return first, second


def is_shorter(a: Tensors, b: Tensors) -> bool:
    """Whether the first outputs have fewer tokens than the second."""
    return any(values.ndim > 1 and values.shape[1] < b[name].shape[1] for name, values in a.items())


def have_lengths(parts: Sequence[Tensors]) -> bool:
    """Whether the tensors of one name differ in their second axis."""
    return any(len({part[name].shape[1:2] for part in parts}) > 1 for name in parts[0])


def join_texts(parts: Sequence[Tensors], whole: Batch) -> Tensors:
    """Outputs of consecutive texts in one tensor each, with 0 at the places of padding.

    Args:
        parts: Outputs of consecutive batches, (n, l, …) each.
        whole: All these texts in one batch.
    """
    return {name: _joined([part[name] for part in parts], whole) for name in parts[0]}


def _joined(parts: Sequence[Tensor], whole: Batch) -> Tensor:
    if len({part.shape[1:2] for part in parts}) == 1:
        return torch.cat(list(parts))
    widest = max(part.shape[1] for part in parts)
    result = parts[0].new_zeros(sum(map(len, parts)), widest, *parts[0].shape[2:])
    start = 0
    for part in parts:
        result[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    mask = _mask_of(whole)
    if mask is None or mask.shape[1] < widest:
        return result
    kept = (mask[: len(result), :widest] > 0).reshape(len(result), widest, *(1 for _ in result.shape[2:]))
    return torch.where(kept, result, torch.zeros_like(result))


def _mask_of(whole: Batch) -> Tensor | None:
    """Which places of the outputs are no padding, (N, L): of tokens, or of a decoder that writes responses, its targets."""
    if DECODER_IDS in whole.inputs:
        target = whole.targets.get(TARGET)
        return None if target is None else (target >= 0).long()
    return whole.inputs.get(MASK)
