"""Preprocessing of samples: what an artifact does with a file before the network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.core.kept_tokens import KeptTokens

Resize = Literal["squash", "center_crop", "center_crop_unless_square"]


class ImagePreprocessing(FrozenModel):
    """Preprocessing of an image: `(x − mean) / std` of pixels x in [0, 1].

    Attributes:
        kind: `image`.
        mean: Mean per channel.
        std: Per channel.
        resize: How an image is scaled to the input, see `compress.data.decode_image.resize_image`; None for the caller's own
            loaders, whose resizing is unknown.
    """

    kind: Literal["image"] = "image"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None


class TextPreprocessing(FrozenModel):
    """Preprocessing of a text, or of a pair of texts: a tokenizer, whose file is shipped beside the network.

    Attributes:
        kind: `text`.
        tokenizer: SHA-256 of its `tokenizer.json`.
        max_length: Longest sequence in tokens; longer ones are cut.
        pad_id: Token that fills the shorter sequences of a batch.
        pairs: Whether a sample is two texts.
        kept: The tokens that were left of a larger vocabulary; None for a tokenizer as it was.
        end_token: Name of the token that ends a text, of networks that write texts; None of others.
        prompt: Text before and after a prompt, of networks that answer prompts; None of others.
    """

    kind: Literal["text"] = "text"
    tokenizer: str
    max_length: int = Field(default=512, ge=1)
    pad_id: int = Field(default=0, ge=0)
    pairs: bool = False
    kept: KeptTokens | None = None
    end_token: str | None = None
    prompt: tuple[str, str] | None = None


class ImageTextPreprocessing(FrozenModel):
    """Preprocessing of an image and of a text, of a network that takes both.

    Attributes:
        kind: `image_text`.
        image: Of the image.
        text: Of the text.
    """

    kind: Literal["image_text"] = "image_text"
    image: ImagePreprocessing
    text: TextPreprocessing

    @property
    def writes(self) -> bool:
        """Whether the network writes a text about the image after the one that it is given."""
        return self.text.end_token is not None


class WrittenTokens(FrozenModel):
    """Tokens of the text that a network of audio writes.

    Attributes:
        prefix: Tokens that begin every text, the start first; they are given, not predicted.
        end: Token that ends a text.
        most: Longest text in tokens, with the prefix and the end.
    """

    prefix: tuple[int, ...] = Field(min_length=1)
    end: int
    most: int = Field(ge=2)


class AudioPreprocessing(FrozenModel):
    """Preprocessing of a clip of audio: one channel of samples in [−1, 1].

    Attributes:
        kind: `audio`.
        rate: Samples per second.
        most_samples: Longest clip that the network was trained and measured for.
        frame_samples: Length of a frame of the outputs; None where outputs have none of a fixed length.
        written: Tokens of a text that is written token by token; None for other networks.
    """

    kind: Literal["audio"] = "audio"
    rate: int = Field(ge=1)
    most_samples: int = Field(ge=1)
    frame_samples: int | None = Field(default=None, ge=1)
    written: WrittenTokens | None = None
