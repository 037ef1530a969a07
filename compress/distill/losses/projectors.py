"""Projectors between layers of different width: learned 1 × 1 convolutions or linear maps, discarded after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.train.loss_term import LossInputs, MatchedLayers

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_projectors(matched: Sequence[MatchedLayers]) -> nn.ModuleList:
    """One module for each pair, from the student's width to the teacher's; the identity where they are equal.

        maps (C, H, W)    1 × 1 convolution C_s → C_t
        tokens (L, D)     linear D_s → D_t
        vectors (D)       linear D_s → D_t

    Raises:
        ModelError: Layers of different kinds, or of different numbers of tokens.
    """
    from torch import nn

    projectors: list[nn.Module] = []
    for layers in matched:
        small, large = layers.student_shape, layers.teacher_shape
        check_same_kind(layers)
        spatial = len(small) == 3
        wide, wider = (small[0], large[0]) if spatial else (small[-1], large[-1])
        if wide == wider:
            projectors.append(nn.Identity())
        else:
            projectors.append(nn.Conv2d(wide, wider, 1) if spatial else nn.Linear(wide, wider))
    return nn.ModuleList(projectors)


def project(inputs: LossInputs) -> list[tuple[Tensor, Tensor]]:
    """The feature pairs of a term, the student's projected to the teacher's width, both at the smaller resolution."""
    from torch import nn

    modules = inputs.modules
    projectors = modules if isinstance(modules, nn.ModuleList) else [nn.Identity()] * len(inputs.features)
    return [
        match_resolution(projector(pair.student), pair.teacher)
        for projector, pair in zip(projectors, inputs.features, strict=True)
    ]


def match_resolution(f_s: Tensor, f_t: Tensor) -> tuple[Tensor, Tensor]:
    """Maps averaged to the smaller height and width of the two; other features are unchanged.

    Args:
        f_s: Student, (N, C, H, W) or anything else.
        f_t: Teacher, likewise.
    """
    from torch.nn import functional as F

    if f_s.ndim != 4 or f_s.shape[2:] == f_t.shape[2:]:
        return f_s, f_t
    size = (min(f_s.shape[2], f_t.shape[2]), min(f_s.shape[3], f_t.shape[3]))
    return F.adaptive_avg_pool2d(f_s, size), F.adaptive_avg_pool2d(f_t, size)


def check_same_kind(layers: MatchedLayers) -> None:
    """Refuse layers that no projector joins.

    Raises:
        ModelError: They are of different kinds, or of different numbers of tokens.
    """
    small, large = layers.student_shape, layers.teacher_shape
    if len(small) != len(large) or not 1 <= len(small) <= 3:
        kinds = {1: "a vector", 2: "tokens", 3: "maps"}
        shapes = gettext(
            "{kinds} and {kinds_2}", kinds=kinds.get(len(small), "neither"), kinds_2=kinds.get(len(large), "neither")
        )
        raise ModelError(
            gettext("no projector joins {layers}: {shapes}; name layers of one kind", layers=layers, shapes=shapes)
        )
    if len(small) == 2 and small[0] != large[0]:
        raise ModelError(
            gettext(
                "no projector joins {layers}: {small} and {large} tokens; name layers with equal numbers",
                layers=layers,
                small=small[0],
                large=large[0],
            )
        )


def check_equal_widths(matched: Sequence[MatchedLayers]) -> None:
    """Refuse layers of different width, for losses without projectors.

    Raises:
        ModelError: They differ; the message names the loss that learns a projector.
    """
    for layers in matched:
        check_same_kind(layers)
        small, large = layers.student_shape, layers.teacher_shape
        if (small[0], len(small)) != (large[0], len(large)) or (len(small) < 3 and small != large):
            raise ModelError(
                gettext(
                    "{layers} differ in width; use `hint`, which learns a projector, or name layers of equal width",
                    layers=layers,
                )
            )
