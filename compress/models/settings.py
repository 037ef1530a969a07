"""The `model:` and `teacher:` blocks of a recipe. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, field_validator, model_validator

from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import names
from compress.core.stage import Form
from compress.train.settings import Training

FRESH = "fresh"
"""Value of `weights` for new weights of an `hf:` source."""
CONFIG = "config"
"""Entry of `args` of an `hf:` source with a whole configuration, without weights."""


def split_source(source: str) -> tuple[str, str]:
    """`torchvision:resnet18` → (`torchvision`, `resnet18`)."""
    kind, _, rest = source.partition(":")
    return kind, rest


def _checked(source: str) -> str:
    """The source, if its form is valid; whether the network exists is checked when it is built."""
    kind, rest = split_source(source)
    if kind not in names("model"):
        msg = gettext(
            "unknown model source {source!r}: {hint}, each followed by `:` and a name",
            source=source,
            hint=nearest(kind, names("model")),
        )
        raise ValueError(msg)
    if not rest:
        msg = gettext(
            "{source!r} names no network; write `{kind}:` and a name, such as `torchvision:resnet18`", source=source, kind=kind
        )
        raise ValueError(msg)
    if kind == "python" and not all(rest.rpartition(":")[::2]):
        msg = gettext("{source!r} names no function; write `python:FILE.py:FUNCTION`", source=source)
        raise ValueError(msg)
    return source


class ModelSettings(FrozenModel):
    """Source of a network.

    Attributes:
        source: `torchvision:NAME`, `timm:NAME`, `hf:NAME_OR_FOLDER`, `detector:NAME`, `segmenter:small`, `anomaly:small`,
            `file:PATH` (with `architecture`), `onnx:PATH`, or `python:FILE.py:FUNCTION` (needs --trust-code).
        weights: For torchvision: a weights name such as `DEFAULT` or `IMAGENET1K_V2` (downloads). For timm:
            `DEFAULT`. For `file:`, the entry of a checkpoint that holds several state dicts, such as
            `state_dict_ema`. None for fresh weights, or for the entry that training scripts write first.
            An `hf:` source has its own weights, unless this is `fresh`.
        architecture: For `file:`: the source of the network that the weights belong to, such as `torchvision:resnet50`.
        args: Further keyword arguments of the network's constructor, such as `{width_mult: 0.5}`. With `num_classes`
            the network is made for that many classes (those of a weights file) and its head then replaced by one
            that fits the data.
        small_stem: Less downsampling in the first layers, for images of up to 64 pixels: the first convolution has stride 1
            and the max-pooling after it is removed. The record has a note.
    """

    source: str
    weights: str | None = None
    architecture: str | None = None
    args: dict[str, object] = Field(default_factory=dict)
    small_stem: bool = False

    @field_validator("source", "architecture")
    @classmethod
    def _has_a_known_form(cls, value: str | None) -> str | None:
        return value if value is None else _checked(value)

    @property
    def trained(self) -> bool:
        """Whether its initial weights are trained; all but new weights are."""
        kind = self.source.partition(":")[0]
        return self.weights != FRESH if kind == "hf" else self.weights is not None or kind in ("file", "python", "onnx")

    @property
    def reference(self) -> ModelSettings | None:
        """The network that an `anomaly:` source takes its reference from; None where it takes none."""
        block = self.args.get("reference") if self.source.startswith("anomaly:") else None
        return ModelSettings.model_validate(block) if isinstance(block, Mapping) else None

    def without_weights(self) -> Self:
        """The same network with new weights."""
        if (reference := self.reference) is not None:
            fresh = reference.without_weights().model_dump(mode="json", exclude_defaults=True)
            return self.model_copy(update={"args": self.args | {"reference": fresh}})
        update: dict[str, object] = {"weights": FRESH if self.source.startswith("hf:") else None}
        if self.source.startswith("file:") and self.architecture:
            update = {"source": self.architecture, "architecture": None}
            update["weights"] = FRESH if self.architecture.startswith("hf:") else None
        return self.model_copy(update=update)

    @property
    def form(self) -> Form:
        """Form of the start of the chain: a torch network, or an ONNX file."""
        return "onnx" if self.source.startswith("onnx:") else "torch"

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        is_file, is_hf = self.source.startswith("file:"), self.source.startswith("hf:")
        if is_file and self.architecture is None:
            msg = gettext(
                "a `file:` source needs the network of its weights: add `architecture`, such as `torchvision:resnet50`"
            )
            raise ValueError(msg)
        if self.architecture is not None and (not is_file or self.architecture.startswith("file:")):
            msg = gettext("`architecture` goes with a `file:` source, and is itself torchvision:, timm:, hf: or python:")
            raise ValueError(msg)
        _ = self.reference  # its faults are those of this block
        if self.form == "onnx" and (self.args or self.small_stem):
            msg = gettext("an ONNX file is not modified: leave out `args` and `small_stem`")
            raise ValueError(msg)
        if self.weights is not None and self.source.partition(":")[0] not in ("torchvision", "timm", "hf", "file"):
            msg = gettext(
                "`weights` goes with torchvision:, timm:, hf: and file:; for a file of your own use source `file:PATH`"
            )
            raise ValueError(msg)
        if is_hf and self.weights not in (None, FRESH):
            msg = gettext(
                "`weights` of an `hf:` source is left out, for its own, or {fresh}; got {weights!r}",
                fresh=FRESH,
                weights=self.weights,
            )
            raise ValueError(msg)
        return self


class TeacherSettings(ModelSettings):
    """A teacher: a network, and how to train it on this data where its weights do not already fit.

    Attributes:
        train: Training settings; None uses the network without training.
    """

    train: Training | None = None
