"""RMS normalisation of other packages: recognised by what it computes, run in the precision of its input, and masked.

    y_c = w_c · x_c / √(mean_c x_c² + ε)        Gemma: 1 + w_c in place of w_c

Zhang & Sennrich 2019, arXiv:1910.07467. transformers computes it in float32 whatever its input, which hides differences below
1e-7 from a trial in float64; and a trial of removed channels needs the mean over the others.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn

_EPS = ("variance_epsilon", "eps")
_TOLERANCE = 1e-5
_MASK, _OFFSET, _EPSILON = "_counted_channels", "_weight_offset", "_exact_epsilon"


def run_exactly(module: nn.Module) -> None:
    """Let every RMS normalisation of a network compute in the precision of its input, in place.

    A module whose class is named so, and that computes something else, stays as it is.
    """
    for part in module.modules():
        offset, eps = _offset(part), _epsilon(part)
        if offset is not None and eps is not None:
            part.__dict__.update({_OFFSET: offset, _EPSILON: eps})
            part.__dict__["forward"] = MethodType(_forward, part)  # a bound method, so that a copy of the module has its own


def is_exact(part: nn.Module) -> bool:
    """Whether `run_exactly` found a module to be an RMS normalisation."""
    return _EPSILON in part.__dict__


def set_mask(part: nn.Module, mask: Tensor | None) -> None:
    """Set the channels, 1 or 0 each, (C,), that the mean of a normalisation of `run_exactly` is over; None for all."""
    part.__dict__[_MASK] = mask


def _forward(part: nn.Module, x: Tensor) -> Tensor:
    mask = part.__dict__.get(_MASK)
    squares = x.square() if mask is None else x.square() * mask
    mean = squares.sum(-1, keepdim=True) / (x.shape[-1] if mask is None else mask.sum())
    scale: Tensor = part.get_parameter("weight") + part.__dict__[_OFFSET]
    return x * torch.rsqrt(mean + part.__dict__[_EPSILON]) * scale


def _epsilon(part: nn.Module) -> float | None:
    values = (getattr(part, key, None) for key in _EPS)
    return next((float(value) for value in values if isinstance(value, float)), None)


@torch.no_grad()
def _offset(part: nn.Module) -> float | None:
    """0, or 1 where the scale is 1 + w; None for a module that is no RMS normalisation."""
    weight, eps = part._parameters.get("weight"), _epsilon(part)
    if "RMSNorm" not in type(part).__name__ or weight is None or weight.dim() != 1 or eps is None or len(part._parameters) != 1:
        return None
    x = torch.linspace(-1, 2, len(weight), dtype=weight.dtype, device=weight.device)[None]
    try:
        own = part(x).double()
    except Exception:  # code of another package, which may need further inputs
        return None
    normalized = x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + eps)
    for offset in (0.0, 1.0):
        if torch.allclose(own, normalized * (weight.double() + offset), rtol=_TOLERANCE, atol=_TOLERANCE):
            return offset
    return None
