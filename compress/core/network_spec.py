"""Specification of a network: signature, class names, and preprocessing of samples."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from compress.core.errors import SignatureError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.preprocessing import (
    AudioPreprocessing,
    ImagePreprocessing,
    ImageTextPreprocessing,
    Resize,
    TextPreprocessing,
)
from compress.core.signature import BATCH, Signature, TensorSpec

__all__ = [
    "INPUT",
    "LOGITS",
    "AudioPreprocessing",
    "ImagePreprocessing",
    "ImageTextPreprocessing",
    "NetworkSpec",
    "Resize",
    "TextPreprocessing",
    "image_spec",
]

INPUT, LOGITS = "input", "logits"
"""Default names of the only input of a network, and of the output of a classifier."""


class NetworkSpec(FrozenModel):
    """Signature, class names and preprocessing of a network; shipped with the artifact.

    Attributes:
        signature: Named inputs and outputs.
        classes: Class names in the order of the outputs; empty for a network without classes.
        preprocessing: Preprocessing of a sample; None for inputs without preprocessing.
    """

    signature: Signature
    classes: tuple[str, ...] = ()
    preprocessing: ImagePreprocessing | TextPreprocessing | ImageTextPreprocessing | AudioPreprocessing | None = Field(
        default=None
    )

    @model_validator(mode="before")
    @classmethod
    def _older(cls, values: object) -> object:
        """Read the older form, which has the image size and no signature."""
        if not isinstance(values, dict) or "signature" in values or "channels" not in values:
            return values
        return image_spec(**values).model_dump()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample of the only input; (C, H, W) for images, also where the batch has a fixed size.

        Raises:
            SignatureError: There are several inputs, or an axis other than the batch is free.
        """
        only = self.signature.only_input
        shape = only.shape[1:] if self.takes_images else only.sample_shape
        sizes = tuple(size for size in shape if isinstance(size, int))
        if len(sizes) < len(shape):
            msg = gettext(
                "this needs an input of one size; the network takes {only_input}", only_input=self.signature.only_input
            )
            raise SignatureError(msg)
        return sizes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the only input.

        Raises:
            SignatureError: The input is not an image.
        """
        if len(self.shape) != 3:
            msg = gettext("this needs images (C, H, W); the network takes {only_input}", only_input=self.signature.only_input)
            raise SignatureError(msg)
        channels, height, width = self.shape
        return channels, height, width

    @property
    def image_channels(self) -> int | None:
        """Channels of the only input if it is an image, else None."""
        inputs = self.signature.inputs
        size = inputs[0].shape[1] if len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].is_continuous else None
        return size if isinstance(size, int) else None

    @property
    def head_size(self) -> int | None:
        """K if the only output is (batch, K) or (batch, K, H, W), such as logits; else None."""
        outputs = self.signature.outputs
        size = outputs[0].shape[1] if len(outputs) == 1 and len(outputs[0].shape) in (2, 4) else None
        return size if isinstance(size, int) else None

    @property
    def known_head_size(self) -> int | None:
        """Size of the network's head: that of its output, else the number of classes; None where the network's own is kept."""
        return self.head_size or len(self.classes) or None

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
        """Preprocessing of an image.

        Raises:
            SignatureError: The input is not an image.
        """
        if not isinstance(self.preprocessing, ImagePreprocessing):
            msg = gettext(
                "this needs a network whose input is an image; it takes {inputs}",
                inputs=", ".join(map(str, self.signature.inputs)),
            )
            raise SignatureError(msg)
        return self.preprocessing

    @property
    def takes_images(self) -> bool:
        """Whether a sample is an image with known preprocessing."""
        return isinstance(self.preprocessing, ImagePreprocessing)

    @property
    def text(self) -> TextPreprocessing | None:
        """Preprocessing of a text; None where the inputs are no texts."""
        return self.preprocessing if isinstance(self.preprocessing, TextPreprocessing) else None

    @property
    def written_text(self) -> TextPreprocessing | None:
        """Preprocessing of the text of a network that reads texts, alone or with an image; None for other networks."""
        return self.text if self.image_text is None else self.image_text.text

    @property
    def image_text(self) -> ImageTextPreprocessing | None:
        """Preprocessing of an image and of a text; None where the inputs are not both."""
        return self.preprocessing if isinstance(self.preprocessing, ImageTextPreprocessing) else None

    def tower(self, kind: Literal["image", "text"]) -> NetworkSpec:
        """The specification of one tower of a network that takes an image and a text, which has one of its outputs each.

        Args:
            kind: The tower.

        Raises:
            SignatureError: The network does not take both.
        """
        both, inputs = self.image_text, self.signature.inputs
        if both is None:
            msg = gettext(
                "this needs a network that takes an image and a text; it takes {inputs}", inputs=", ".join(map(str, inputs))
            )
            raise SignatureError(msg)
        is_image = kind == "image"
        own = tuple(each for each in inputs if each.is_continuous == is_image)
        outputs = self.signature.outputs
        axes = {axis for each in own for axis in each.shape}
        signature = Signature(
            inputs=own,
            outputs=(outputs[:1] if is_image else outputs[1:]),
            sizes={axis: sizes for axis, sizes in self.signature.sizes.items() if axis in axes},
        )
        return NetworkSpec(signature=signature, preprocessing=both.image if is_image else both.text)

    @property
    def audio(self) -> AudioPreprocessing | None:
        """Preprocessing of a clip of audio; None where the input is none."""
        return self.preprocessing if isinstance(self.preprocessing, AudioPreprocessing) else None

    def without_kept(self) -> NetworkSpec:
        """The same specification without the tokens that were left of a larger vocabulary."""
        if self.text is None or self.text.kept is None:
            return self
        return self.model_copy(update={"preprocessing": self.text.model_copy(update={"kept": None})})

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
        """The same specification for images of another size, in pixels."""
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
        mean: Mean per channel, of pixels in [0, 1]; see `ImagePreprocessing`.
        std: Per channel.
        classes: Class names.
        resize: How an image is scaled to the input.
        outputs: Outputs; None for the logits of a classifier, (batch, K).

    Raises:
        ValidationError: A size is not positive.
    """
    if min(channels, height, width) < 1:
        msg = gettext(
            "an image of {channels}×{height}×{width} has no pixels; use sizes above 0",
            channels=channels,
            height=height,
            width=width,
        )
        raise ValueError(msg)
    image = TensorSpec(name=INPUT, shape=(BATCH, channels, height, width))
    logits = TensorSpec(name=LOGITS, shape=(BATCH, len(classes)))
    return NetworkSpec(
        signature=Signature(inputs=(image,), outputs=(logits,) if outputs is None else outputs),
        classes=classes,
        preprocessing=ImagePreprocessing(mean=mean, std=std, resize=resize),
    )
