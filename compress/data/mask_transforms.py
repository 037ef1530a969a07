"""Transforms of an image and its mask together, as one tensor uint8 (C + 1, h, w) whose last channel is the mask.

Both have the same geometry; the mask uses nearest pixels, so that class indices are not mixed. Only the image changes colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from compress.core.network_spec import Resize
from compress.data.augment import Augmentation, EvaluationTransform, Transform, image_tensor, random_crop
from compress.data.settings import Size


@dataclass(frozen=True)
class MaskEvaluationTransform:
    """Resizing without augmentation: the image bilinear as in the artifact, the mask with nearest pixels.

    Attributes:
        size: H and W.
        resize: As in `compress.data.decode_image.resize_image`; only `squash` keeps the whole mask.
    """

    size: Size
    resize: Resize = "squash"

    def __call__(self, sample: Tensor) -> Tensor:
        """uint8 (C + 1, h, w) → uint8 (C + 1, H, W)."""
        image = EvaluationTransform(self.size, self.resize)(sample[:-1])
        height, width = self.size
        mask = Image.fromarray(sample[-1].contiguous().numpy()).resize((width, height), Image.Resampling.NEAREST)
        return torch.cat([image, image_tensor(mask)])


@dataclass(frozen=True)
class MaskAugmentation:
    """The random affine map of `Augmentation`, of image and mask.

    Attributes:
        size: H and W.
        plain: Evaluation transform, applied first.
        affine: Draws the map.
    """

    size: Size
    plain: Transform
    affine: Augmentation

    def __call__(self, sample: Tensor) -> Tensor:
        """uint8 (C + 1, h, w) → uint8 (C + 1, H, W)."""
        pixels = self.plain(sample).unsqueeze(0).to(torch.float32)
        grid = self.affine.draw_grid(list(pixels.shape))
        image = F.grid_sample(pixels[:, :-1], grid, padding_mode="border", align_corners=False)
        mask = F.grid_sample(pixels[:, -1:], grid, mode="nearest", padding_mode="border", align_corners=False)
        return torch.cat([image, mask], dim=1).squeeze(0).round_().to(torch.uint8)


@dataclass(frozen=True)
class MaskCropFlipColour:
    """Random crop of 25 to 100 % of the area, resized, a horizontal flip, and other brightness, contrast and saturation.

    Attributes:
        size: H and W.
        colour: Largest change of brightness, contrast and saturation, as a fraction; of the image only.
    """

    size: Size
    colour: float = 0.2

    def __call__(self, sample: Tensor) -> Tensor:
        """uint8 (C + 1, h, w) → uint8 (C + 1, H, W)."""
        geometry = v2.Compose([random_crop(self.size), v2.RandomHorizontalFlip()])
        image, mask = geometry(tv_tensors.Image(sample[:-1]), tv_tensors.Mask(sample[-1:]))
        image = v2.ColorJitter(self.colour, self.colour, self.colour)(image)
        return torch.cat([image.as_subclass(Tensor), mask.as_subclass(Tensor)])


def light(size: Size, plain: Transform) -> Transform:
    """Small rotations, scales and shifts, see `compress.data.augment.Augmentation`."""
    return MaskAugmentation(size, plain, Augmentation(size, plain))


def standard(size: Size, plain: Transform) -> Transform:  # noqa: ARG001
    """See `MaskCropFlipColour`."""
    return MaskCropFlipColour(size)


MASK_AUGMENTATIONS: dict[str, Callable[[Size, Transform], Transform]] = {"light": light, "standard": standard}
"""By the name in `data.augment`. `none` has no entry; `randaugment` has operations that move an image without its mask."""
