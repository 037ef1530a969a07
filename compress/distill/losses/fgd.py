"""Focal and global distillation of a detector's feature maps: objects, background and their relations weigh apart.

Yang et al. 2022, "Focal and Global Knowledge Distillation for Detectors", arXiv:2111.11837; the relations are compared through
the global context block of Cao et al. 2019, GCNet, arXiv:1904.11492.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.data.detection_targets import BOXES, CLASSES
from compress.distill.losses.projectors import build_projectors, match_resolution
from compress.tasks.capability import Capability
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn


def attention(f: Tensor, *, T: float) -> tuple[Tensor, Tensor]:  # noqa: N803
    """Where a map is active, and in which channels.

        A^S = H W · softmax_ij( mean_c |f_cij| / T ),   A^C = C · softmax_c( mean_ij |f_cij| / T )

    Args:
        f: (N, C, H, W).
        T: Temperature, above 0.

    Returns:
        A^S (N, 1, H, W) and A^C (N, C, 1, 1), each 1 on average.
    """
    count, channels, height, width = f.shape
    strength = f.abs()
    spatial = (strength.mean(1).flatten(1) / T).softmax(1).view(count, 1, height, width) * (height * width)
    channel = (strength.mean((2, 3)) / T).softmax(1).view(count, channels, 1, 1) * channels
    return spatial, channel


def object_masks(boxes: Tensor, present: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Weights of the cells of a map: of those inside a box, and of the background.

        fg_ij = max_r 1 / (h_r w_r) over the boxes r that hold the cell, in cells;   bg_ij = 1 / (number of cells in no box)

    so that small objects weigh as much as large ones, and the background as much as one object.

    Args:
        boxes: (N, M, 4), pixels of the image.
        present: Which of them are no padding, bool (N, M).
        grid: (H, W) of the map.
        size: (height, width) of the image, pixels.

    Returns:
        fg and bg, each (N, 1, H, W).
    """
    import torch

    rows, columns = grid
    scale = boxes.new_tensor((columns / size[1], rows / size[0])).repeat(2)
    corners = boxes * scale
    x1, y1 = corners[..., 0].floor(), corners[..., 1].floor()
    x2, y2 = corners[..., 2].ceil().maximum(x1 + 1), corners[..., 3].ceil().maximum(y1 + 1)
    y, x = torch.arange(rows, device=boxes.device), torch.arange(columns, device=boxes.device)
    in_rows = (y >= y1[..., None]) & (y < y2[..., None])
    in_columns = (x >= x1[..., None]) & (x < x2[..., None])
    inside = in_rows[..., :, None] & in_columns[..., None, :] & present[..., None, None]
    area = ((x2 - x1) * (y2 - y1))[..., None, None]
    foreground = torch.where(inside, 1 / area, 0.0).amax(1)
    outside = (~inside.any(1)).to(boxes.dtype)
    background = outside / outside.sum((1, 2), keepdim=True).clamp(min=1)
    return foreground[:, None], background[:, None]


def focal_distillation(
    f_s: Tensor,
    f_t: Tensor,
    masks: tuple[Tensor, Tensor],
    *,
    weights: tuple[float, float, float],
    T: float,  # noqa: N803
) -> Tensor:
    """Distance of maps where the teacher looks, apart for objects and background, and of where both look.

        L_n = Σ_cij (α · fg_ij + β · bg_ij) · A^S_t · A^C_t · (f_t − f_s)²  +  γ · (mean|A^S_t − A^S_s| + mean|A^C_t − A^C_s|)

    Args:
        f_s: Student, (N, C, H, W), projected to the teacher's width.
        f_t: Teacher, of the same shape.
        masks: fg and bg, see `object_masks`.
        weights: α, β, γ.
        T: Temperature of the attention.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    (spatial, channel), (spatial_s, channel_s) = attention(f_t, T=T), attention(f_s, T=T)
    place = weights[0] * masks[0] + weights[1] * masks[1]
    distance = (place * spatial * channel * (f_t - f_s).square()).sum((1, 2, 3))
    looks = (spatial - spatial_s).abs().flatten(1).mean(1) + (channel - channel_s).abs().flatten(1).mean(1)
    return distance + weights[2] * looks


def _context_block(channels: int) -> nn.Module:
    """R(f) = f + W₂ relu(LN(W₁ Σ_j softmax_j(w f_j) f_j)), at the start f itself."""
    import torch
    from torch import nn

    class ContextBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Conv2d(channels, 1, 1)
            inner = max(1, channels // 2)
            last = nn.Conv2d(inner, channels, 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
            self.change = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.LayerNorm([inner, 1, 1]), nn.ReLU(), last)

        def forward(self, f: Tensor) -> Tensor:
            weights = self.place(f).flatten(2).softmax(2)
            context = torch.einsum("ncl,nl->nc", f.flatten(2), weights[:, 0])[..., None, None]
            changed: Tensor = f + self.change(context)
            return changed

    return ContextBlock()


class Fgd(LossTerm):
    """`fgd:` in a recipe, for detectors; the weights are those of the paper for detectors of one stage.

    Attributes:
        layers: `auto`, or names or indices of layers; best those of the neck, whose maps hold what the heads read.
        foreground: α, of objects.
        background: β.
        attention: γ.
        relation: λ, of Σ (R_t(f_t) − R_s(f_s))², whose blocks R are trained with the student and dropped afterwards.
        temperature: T of the attention.
    """

    layers: LayerSelection = "auto"
    foreground: float = Field(default=1e-3, ge=0.0)
    background: float = Field(default=5e-4, ge=0.0)
    attention: float = Field(default=1e-3, ge=0.0)
    relation: float = Field(default=5e-6, ge=0.0)
    temperature: float = Field(default=0.5, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    requires: ClassVar[tuple[Capability, ...]] = ("box_targets",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Projectors and context blocks; refuses layers whose outputs have no height and width."""
        from torch import nn

        for layers in matched:
            if len(layers.student_shape) != 3 or len(layers.teacher_shape) != 3:
                raise ModelError(
                    gettext(
                        "fgd compares maps with height and width, which {layers} lack; name layers of the neck", layers=layers
                    )
                )
        projectors = build_projectors(matched)
        blocks = [_context_block(layers.teacher_shape[0]) for layers in matched for _ in range(2)]
        return nn.ModuleList([*projectors, *blocks])

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `focal_distillation`."""
        import torch
        from torch import nn

        count, modules = len(inputs.features), inputs.modules
        assert isinstance(modules, nn.ModuleList)  # noqa: S101  # made by `prepare`
        targets = inputs.batch.targets
        size = inputs.batch.input.shape[2], inputs.batch.input.shape[3]
        weights = (self.foreground, self.background, self.attention)
        losses = []
        for index, pair in enumerate(inputs.features):
            f_s, f_t = match_resolution(modules[index](pair.student), pair.teacher)
            grid = f_t.shape[2], f_t.shape[3]
            masks = object_masks(targets[BOXES], targets[CLASSES] >= 0, grid, size)
            loss = focal_distillation(f_s, f_t, masks, weights=weights, T=self.temperature)
            student_block, teacher_block = modules[count + 2 * index], modules[count + 2 * index + 1]
            relation = (teacher_block(f_t) - student_block(f_s)).square().sum((1, 2, 3))
            losses.append(loss + self.relation * relation)
        return torch.stack(losses).sum(0)

    def forward(self, inputs: LossInputs) -> Tensor:
        """Mean over the images; a curriculum's weights are of anchors and do not apply."""
        return self.per_sample(inputs).mean()
