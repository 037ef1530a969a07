"""What joins layers of different width: learned 1 × 1 convolutions or linear maps, dropped after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.core.errors import ModelError
from compress.train.loss_term import LossInputs, MatchedLayers

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_projectors(joints: Sequence[MatchedLayers]) -> nn.ModuleList:
    """One module for each pair, from the student's width to the teacher's; nothing is learned where they are equal.

        maps (C, H, W)    1 × 1 convolution C_s → C_t
        tokens (L, D)     linear D_s → D_t
        vectors (D)       linear D_s → D_t

    Raises:
        ModelError: Layers of different kinds, or of different numbers of tokens.
    """
    from torch import nn

    made: list[nn.Module] = []
    for joint in joints:
        small, large = joint.student_shape, joint.teacher_shape
        check_same_kind(joint)
        spatial = len(small) == 3
        wide, wider = (small[0], large[0]) if spatial else (small[-1], large[-1])
        if wide == wider:
            made.append(nn.Identity())
        else:
            made.append(nn.Conv2d(wide, wider, 1) if spatial else nn.Linear(wide, wider))
    return nn.ModuleList(made)


def project(inputs: LossInputs) -> list[tuple[Tensor, Tensor]]:
    """The pairs of a term, the student's adapted to the teacher's width, both at the smaller of their resolutions."""
    from torch import nn

    learned = inputs.modules
    through = learned if isinstance(learned, nn.ModuleList) else [nn.Identity()] * len(inputs.features)
    return [
        match_resolution(adapter(pair.student), pair.teacher) for adapter, pair in zip(through, inputs.features, strict=True)
    ]


def match_resolution(f_s: Tensor, f_t: Tensor) -> tuple[Tensor, Tensor]:
    """Maps averaged down to the smaller height and width of the two; all else as it is.

    Args:
        f_s: Student, (N, C, H, W) or anything else.
        f_t: Teacher, likewise.
    """
    from torch.nn import functional as F

    if f_s.ndim != 4 or f_s.shape[2:] == f_t.shape[2:]:
        return f_s, f_t
    size = (min(f_s.shape[2], f_t.shape[2]), min(f_s.shape[3], f_t.shape[3]))
    return F.adaptive_avg_pool2d(f_s, size), F.adaptive_avg_pool2d(f_t, size)


def check_same_kind(joint: MatchedLayers) -> None:
    """Refuse layers that no adapter joins.

    Raises:
        ModelError: They are of different kinds, or of different numbers of tokens.
    """
    small, large = joint.student_shape, joint.teacher_shape
    if len(small) != len(large) or not 1 <= len(small) <= 3:
        kinds = {1: "a vector", 2: "tokens", 3: "maps"}
        found = f"{kinds.get(len(small), 'neither')} and {kinds.get(len(large), 'neither')}"
        raise ModelError(f"no adapter joins {joint}: {found}; name layers of one kind")
    if len(small) == 2 and small[0] != large[0]:
        raise ModelError(f"no adapter joins {joint}: {small[0]} and {large[0]} tokens; name layers with as many")


def check_equal_widths(joints: Sequence[MatchedLayers]) -> None:
    """Refuse layers that are compared as they are and differ in width.

    Raises:
        ModelError: They differ; the message names the loss that learns an adapter.
    """
    for joint in joints:
        check_same_kind(joint)
        small, large = joint.student_shape, joint.teacher_shape
        if (small[0], len(small)) != (large[0], len(large)) or (len(small) < 3 and small != large):
            raise ModelError(f"{joint} differ in width; use `hint`, which learns an adapter, or name layers of equal width")
