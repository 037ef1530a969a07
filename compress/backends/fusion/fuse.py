"""Fuse a transformer for ONNX Runtime and check it by numbers.

Measured on encoders: the fused attention shortens long sequences, and the fused GELU costs nothing. The fused sum and
normalisation (`SkipLayerNormalization`) and `BiasGelu` took longer than the separate nodes and are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.fusion.attention import find_attention, int32_mask, padding_mask_of, replace_attention
from compress.backends.fusion.gelu import fuse_gelu
from compress.backends.runner_protocol import Array, Feeds
from compress.core.errors import ConversionError

TOLERANCE = 1e-4
"""Largest difference of the outputs, as a fraction of the largest output."""


@dataclass(frozen=True, eq=False)
class Fusion:
    """A network with fused operators.

    Attributes:
        model: The network.
        attentions: Number of fused attentions.
        gelus: Number of fused GELUs.
        padding_mask: Whether the attentions read the padding mask in place of a bias that is added to the scores.
        difference: Largest difference of the outputs, as a fraction of the largest output.
    """

    model: ir.Model
    attentions: int
    gelus: int
    padding_mask: bool
    difference: float


def fuse(model: ir.Model, feeds: Sequence[Feeds], *, tolerance: float = TOLERANCE) -> Fusion | None:
    """Fuse attention and GELU; None if the network has neither, or if the outputs of every fused form differ.

    Args:
        model: Float network; not changed.
        feeds: Inputs on which the outputs are compared. With padding in them, a mask that is more than a padding mask, such as
            that of a causal network, is found out.
        tolerance: Largest difference of the outputs, as a fraction of the largest.
    """
    sites = find_attention(model)
    expected = [_run(model, batch) for batch in feeds]
    heads = _heads(model, [str(site.heads.name) for site in sites], feeds[0]) if sites else []
    forms = [(True, True), (True, False)] if sites else []
    for with_attention, padding_mask in [*forms, (False, False)]:
        copy = model.clone()
        attentions = _fuse_attention(copy, heads, padding_mask=padding_mask) if with_attention else 0
        gelus = fuse_gelu(copy)
        if not attentions + gelus:
            continue
        RemoveUnusedNodesPass()(copy)
        CommonSubexpressionEliminationPass()(copy)
        difference = _difference(copy, feeds, expected)
        if difference <= tolerance:
            return Fusion(copy, attentions, gelus, padding_mask and bool(attentions), difference)
    return None


def _fuse_attention(model: ir.Model, heads: Sequence[int], *, padding_mask: bool) -> int:
    sites = find_attention(model)
    for site, count in zip(sites, heads, strict=True):
        mask = padding_mask_of(site) if padding_mask else None
        if padding_mask and mask is None:
            return 0
        replace_attention(model, site, count, None if mask is None else int32_mask(model, mask))
    return len(sites)


def _heads(model: ir.Model, names: Sequence[str], feeds: Feeds) -> list[int]:
    """Number of heads of each attention, from the second axis of a tensor in a run."""
    unique = [*dict.fromkeys(names)]
    session = onnx_session.create_session(graphs.with_outputs(model, unique))
    sizes = dict(zip(unique, (array.shape[1] for array in session.run(unique, feeds)), strict=True))
    return [sizes[name] for name in names]


def _run(model: ir.Model, feeds: Feeds) -> list[Array]:
    session = onnx_session.create_session(model)
    outputs: list[Array] = session.run(None, feeds)
    return outputs


def _difference(model: ir.Model, feeds: Sequence[Feeds], expected: Sequence[Sequence[Array]]) -> float:
    """Largest difference of the outputs, relative to the largest; infinite if the network does not run."""
    try:
        session = onnx_session.create_session(model)
        found = [session.run(None, batch) for batch in feeds]
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if isinstance(error, ConversionError) or type(error).__module__.startswith("onnxruntime"):
            return float("inf")
        raise
    pairs = [pair for arrays in zip(expected, found, strict=True) for pair in zip(*arrays, strict=True)]
    differences = [
        float(np.abs(a.astype(np.float64) - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs if a.dtype.kind == "f"
    ]
    return max(differences, default=0.0)
