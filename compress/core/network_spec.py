"""What describes a network besides its weights: its signature, its class names, and how a sample becomes its input."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from compress.core.errors import SignatureError
from compress.core.frozen_model import FrozenModel
from compress.core.signature import BATCH, Signature, TensorSpec

Resize = Literal["squash", "center_crop", "center_crop_unless_square"]

INPUT, LOGITS = "input", "logits"
"""Names of the input of a network that has one, and of the output of a classifier."""


class ImagePreprocessing(FrozenModel):
    """How an image becomes the input of a network: `(x − mean) / std` of pixels x in [0, 1].

    Attributes:
        kind: `image`.
        mean: Per channel.
        std: Per channel.
        resize: How an image is scaled to the input, see `compress.data.decode_image.resize_image`; None for the caller's own
            loaders, whose resizing is unknown.
    """

    kind: Literal["image"] = "image"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None


class NetworkSpec(FrozenModel):
    """Signature, class names and preprocessing of a network; shipped with the artifact.

    Attributes:
        signature: Named inputs and outputs.
        classes: Class names in the order of the outputs; empty for a network without classes.
        preprocessing: How a sample becomes an input; None where the inputs are given as they are.
    """

    signature: Signature
    classes: tuple[str, ...] = ()
    preprocessing: ImagePreprocessing | None = Field(default=None)

    @model_validator(mode="before")
    @classmethod
    def _older(cls, values: object) -> object:
        """Read what was written before networks had signatures: the size of the image, and the rest beside it."""
        if not isinstance(values, dict) or "signature" in values or "channels" not in values:
            return values
        return image_spec(**values).model_dump()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample of the only input, (C, H, W) for images.

        Raises:
            SignatureError: There are several inputs, or an axis besides the batch is free.
        """
        shape = self.signature.only_input.sample_shape
        sizes = tuple(size for size in shape if isinstance(size, int))
        if len(sizes) < len(shape):
            msg = f"this needs an input of one size; the network takes {self.signature.only_input}"
            raise SignatureError(msg)
        return sizes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the only input.

        Raises:
            SignatureError: The input is not an image.
        """
        if len(self.shape) != 3:
            msg = f"this needs images (C, H, W); the network takes {self.signature.only_input}"
            raise SignatureError(msg)
        channels, height, width = self.shape
        return channels, height, width

    @property
    def image_channels(self) -> int | None:
        """Channels of the only input where it is an image; None else."""
        inputs = self.signature.inputs
        size = inputs[0].shape[1] if len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].is_continuous else None
        return size if isinstance(size, int) else None

    @property
    def head_size(self) -> int | None:
        """Size of the last layer where the only output is (batch, K) or (batch, K, H, W), such as logits; None else."""
        outputs = self.signature.outputs
        size = outputs[0].shape[1] if len(outputs) == 1 and len(outputs[0].shape) in (2, 4) else None
        return size if isinstance(size, int) else None

    @property
    def channels(self) -> int:
        """Image channels."""
        return self.image_shape[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.image_shape[1]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.image_shape[2]

    @property
    def image(self) -> ImagePreprocessing:
        """How an image becomes the input.

        Raises:
            SignatureError: The network does not take images.
        """
        if self.preprocessing is None:
            msg = f"this needs a network whose input is an image; it takes {', '.join(map(str, self.signature.inputs))}"
            raise SignatureError(msg)
        return self.preprocessing

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of pixels in [0, 1]."""
        return self.image.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of pixels in [0, 1]."""
        return self.image.std

    @property
    def resize(self) -> Resize | None:
        """How an image is scaled to the input."""
        return self.image.resize

    def with_size(self, height: int, width: int) -> NetworkSpec:
        """The same for images of another size, in pixels."""
        image = self.signature.only_input
        resized = image.model_copy(update={"shape": (*image.shape[:-2], height, width)})
        return self.model_copy(update={"signature": self.signature.model_copy(update={"inputs": (resized,)})})

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(output.name for output in self.signature.outputs)


def image_spec(  # each keyword is one field of the specification
    *,
    channels: int,
    height: int,
    width: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: tuple[str, ...],
    resize: Resize | None = None,
    outputs: tuple[TensorSpec, ...] | None = None,
) -> NetworkSpec:
    """Specification of a network that takes one image, float32 (batch, C, H, W).

    Args:
        channels: C.
        height: H, pixels.
        width: W, pixels.
        mean: Per channel, see `ImagePreprocessing`, as are `std` and `resize`.
        std: Per channel.
        classes: Class names.
        resize: How an image is scaled.
        outputs: Those of the network; None for the logits of a classifier, (batch, K).

    Raises:
        ValidationError: A size is not over 0.
    """
    if min(channels, height, width) < 1:
        msg = f"an image of {channels}×{height}×{width} has no pixels; sizes are over 0"
        raise ValueError(msg)
    image = TensorSpec(name=INPUT, shape=(BATCH, channels, height, width))
    logits = TensorSpec(name=LOGITS, shape=(BATCH, len(classes)))
    return NetworkSpec(
        signature=Signature(inputs=(image,), outputs=(logits,) if outputs is None else outputs),
        classes=classes,
        preprocessing=ImagePreprocessing(mean=mean, std=std, resize=resize),
    )
