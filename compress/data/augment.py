"""Augmentation: random transforms, mostly of torchvision, as functions of (seed, sample, view).

Transforms use torch's default CPU generator. It is seeded for each sample and restored afterwards, so a view
of a sample is always the same tensor, in any order and in any batch. So the logits of a teacher can be cached
per sample and view, as in Beyer et al. 2022 (arXiv:2106.05237), where teacher and student must
see the same crop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from compress.core.network_spec import Resize
from compress.data.decode_image import resize_image
from compress.data.settings import Size

Transform = Callable[[Tensor], Tensor]
"""uint8 (C, h, w) → uint8 (C, H, W)."""

_BILINEAR = v2.InterpolationMode.BILINEAR


def image_tensor(image: Image.Image) -> Tensor:
    """The pixels of an 8-bit image, uint8 (C, h, w)."""
    pixels: Tensor = pil_to_tensor(image)
    return pixels


@dataclass(frozen=True)
class EvaluationTransform:
    """Resizing without augmentation, as in the artifact.

    Attributes:
        size: H and W.
        resize: As in `compress.data.decode_image.resize_image`.
    """

    size: Size
    resize: Resize = "squash"

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 (C, h, w) → uint8 (C, H, W)."""
        pixels = image.permute(1, 2, 0).contiguous().numpy()
        picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        return image_tensor(resize_image(picture, *self.size, self.resize))


@dataclass(frozen=True)
class Augmentation:
    """Rotation by a ~ U(±10°), scale s ~ U(0.9, 1.1), shift t ~ U(±8 %) each way; the border is continued outwards.

    torchvision's `RandomAffine` fills pixels outside the image with one colour and takes three times as long for small images.

    Attributes:
        size: H and W.
        plain: Evaluation transform, applied first.
        degrees: Largest rotation.
        scale: Largest change of scale.
        shift: Largest shift, as a fraction of each side.
    """

    size: Size
    plain: Transform
    degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.08

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 (C, h, w) → uint8 (C, H, W)."""
        pixels = self.plain(image).unsqueeze(0).to(torch.float32)
        grid = self.draw_grid(list(pixels.shape))
        warped = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        return warped.squeeze(0).round_().to(torch.uint8)

    def draw_grid(self, shape: list[int]) -> Tensor:
        """Source position of each pixel, for `grid_sample`.

        Args:
            shape: Of the pixels, (1, C, H, W).
        """
        a, s, t, u = (torch.rand(4) * 2 - 1).tolist()
        angle, scale = math.radians(self.degrees * a), 1 + self.scale * s
        cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
        # Coordinates run from -1 to 1 along each side, whatever its length, so a shift of the whole image is 2.
        ratio = shape[-2] / shape[-1]
        rows = [[cosine, -sine * ratio, 2 * self.shift * t], [sine / ratio, cosine, 2 * self.shift * u]]
        inverse = torch.tensor([rows])
        return F.affine_grid(inverse, shape, align_corners=False)


def standard(size: Size, plain: Transform) -> Transform:  # noqa: ARG001
    """Random crop of 25 to 100 % of the area, resized, and a horizontal flip (Szegedy et al. 2015, arXiv:1409.4842)."""
    transform: Transform = v2.Compose([random_crop(size), v2.RandomHorizontalFlip()])
    return transform


def random_crop(size: Size) -> v2.RandomResizedCrop:
    """Random crop of 25 to 100 % of the area, resized; its aspect ratio is ¾ to 4/3 times that of the input."""
    ratio = size[1] / size[0]
    return v2.RandomResizedCrop(size, scale=(0.25, 1.0), ratio=(3 / 4 * ratio, 4 / 3 * ratio), antialias=True)


def randaugment(size: Size, plain: Transform) -> Transform:
    """`standard`, then two random operations of magnitude 9 (Cubuk et al. 2020, arXiv:1909.13719)."""
    operations = v2.RandAugment(num_ops=2, magnitude=9, interpolation=_BILINEAR)
    transform: Transform = v2.Compose([standard(size, plain), operations])
    return transform


AUGMENTATIONS: dict[str, Callable[[Size, Transform], Transform]] = {
    "light": Augmentation,
    "standard": standard,
    "randaugment": randaugment,
}
"""By the name in `data.augment`: (H and W, the evaluation transform) → augmentation. `none` has no entry."""


@contextmanager
def seeded_transform(seed: int) -> Iterator[None]:
    """Seed torch's default CPU generator in the block; its state is restored afterwards."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)
