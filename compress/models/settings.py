"""The `model:` and `teacher:` blocks of a recipe. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import names
from compress.core.stage import Form
from compress.models.audio.ctc_settings import read_ctc
from compress.models.line_reader_settings import read_line_reader
from compress.models.text.embedding_rank import EmbeddingRank
from compress.models.text.layer_choice import KeptLayers
from compress.models.text.student_settings import read_student
from compress.models.tower_presets import read_towers
from compress.models.visual_language_settings import DECODER, read_visual_language
from compress.train.settings import OwnDataTraining, Training

FRESH = "fresh"
"""Value of `weights` for new weights of an `hf:` source."""
CONFIG = "config"
"""Entry of `args` of an `hf:` source with a whole configuration, without weights."""
NO_ARGS: Mapping[str, object] = MappingProxyType({})
TEACHER = "teacher"
"""Source of a network that is a copy of the recipe's trained teacher."""
WITH_LAYERS = ("hf", "encoder", "decoder", "python", TEACHER)
"""Sources of networks whose layers `keep_layers` can choose."""


def split_source(source: str) -> tuple[str, str]:
    """`torchvision:resnet18` → (`torchvision`, `resnet18`)."""
    kind, _, rest = source.partition(":")
    return kind, rest


def brings_weights(source: str, weights: str | None, args: Mapping[str, object] = NO_ARGS) -> bool:
    """Whether a network has other weights than new ones, by its source and its settings `weights` and `args`."""
    kind = split_source(source)[0]
    if kind == "hf":
        return weights != FRESH and CONFIG not in args
    return weights is not None or kind in ("file", "python", "onnx", TEACHER)


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
    if kind == TEACHER:
        if source != TEACHER:
            msg = gettext("{source!r}: write `teacher` alone, for a copy of the first teacher of the recipe", source=source)
            raise ValueError(msg)
        return source
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
            `crnn:small`, `text_student:bilstm`, `text_student:cnn` or `text_student:mlp` (`args`: `StudentSettings`),
            `dual_encoder:small` (`args` are `dimensions`, and a block like this one for each tower, `image` and `text`),
            `visual_language:small` (`args`: `VisualLanguageSettings`),
            `ctc:quartznet` for speech, `audio_classifier:quartznet`, `audio_frames:quartznet` (`args` of all: `CtcSettings`),
            `file:PATH` (with `architecture`), `onnx:PATH`, or `python:FILE.py:FUNCTION` (needs --trust-code). For `model:` also
            `teacher`, a copy of the recipe's teacher (the first of several) as its training left it.
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
        keep_layers: For text encoders of transformers: the layers that are kept, with their weights, such as `[0, 2, 4]`, or
            `{count: 3, choose: even}`; see `LayerChoice`. None for all.
        factorize_embeddings: For text networks: rank of two factors in place of the table of tokens, or `{energy: 0.9}`, see
            `EmbeddingEnergy`. None for none.
        whole_vocabulary: For data with a pruned tokenizer: keep the vectors of all tokens, and map the data's tokens to them,
            as a teacher does by default. False keeps those of the tokens that are left.
    """

    source: str
    weights: str | None = None
    architecture: str | None = None
    args: dict[str, object] = Field(default_factory=dict)
    small_stem: bool = False
    keep_layers: KeptLayers | None = None
    factorize_embeddings: EmbeddingRank | None = None
    whole_vocabulary: bool = False

    @field_validator("source", "architecture")
    @classmethod
    def _has_a_known_form(cls, value: str | None) -> str | None:
        return value if value is None else _checked(value)

    @property
    def trained(self) -> bool:
        """Whether its initial weights are trained; all but new weights are."""
        return brings_weights(self.source, self.weights, self.args)

    @property
    def needs_teacher(self) -> bool:
        """Whether it is made of the recipe's trained teacher: a copy, or a student that starts from a part of it."""
        is_student = self.source.startswith("text_student:") and self.args.get("embeddings") == TEACHER
        vision = self.args.get("vision") if self.source.startswith("visual_language:") else None
        sees_alike = isinstance(vision, Mapping) and vision.get("weights") == TEACHER
        return self.source == TEACHER or is_student or sees_alike

    @property
    def reference(self) -> ModelSettings | None:
        """The network that an `anomaly:` source takes its reference from; None where it takes none."""
        block = self.args.get("reference") if self.source.startswith("anomaly:") else None
        return ModelSettings.model_validate(block) if isinstance(block, Mapping) else None

    @property
    def towers(self) -> dict[str, ModelSettings]:
        """The networks of other sources in a `dual_encoder:` or `visual_language:` network, by their names in `args`."""
        kind, name = split_source(self.source)
        if kind == "visual_language":
            return {DECODER: ModelSettings.model_validate(read_visual_language(name, self.args).decoder)}
        if kind != "dual_encoder":
            return {}
        return {tower: ModelSettings.model_validate(block) for tower, block in read_towers(name, self.args)[0].items()}

    def without_weights(self) -> Self:
        """The same network with new weights."""
        if towers := self.towers:
            blocks = {
                name: each.without_weights().model_dump(mode="json", exclude_defaults=True) for name, each in towers.items()
            }
            return self.model_copy(update={"args": {**self.args, **blocks}})
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

    @field_validator("keep_layers")
    @classmethod
    def _are_in_order(cls, value: KeptLayers | None) -> KeptLayers | None:
        if isinstance(value, tuple) and sorted(set(value)) != list(value):
            msg = gettext(
                "keep_layers is {layers}; name each layer once, in increasing order: {sorted}",
                layers=list(value),
                sorted=sorted(set(value)),
            )
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _has_the_parts_of_a_text_network(self) -> Self:
        source = self.architecture or self.source
        kind = split_source(source)[0]
        if self.factorize_embeddings is not None and kind not in (*WITH_LAYERS, "text_student"):
            msg = gettext(
                "factorize_embeddings is for networks with tokens, from hf:, encoder:, decoder:, text_student:, python: or "
                "teacher; {source} has none, so leave it out",
                source=source,
            )
            raise ValueError(msg)
        if self.keep_layers is not None and kind not in WITH_LAYERS:
            msg = gettext(
                "keep_layers chooses layers of transformers for text, from hf:, encoder:, decoder:, python: or teacher; "
                "{source} has no such layers, so leave keep_layers out",
                source=source,
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _has_arguments_of_its_kind(self) -> Self:
        kind, name = split_source(self.source)
        if kind == "text_student":
            read_student(name, self.args)
        if kind in ("ctc", "audio_classifier", "audio_frames"):
            read_ctc(name, self.args, kind)
        if kind == "crnn":
            read_line_reader(name, self.args)
        if self.source == TEACHER and (self.args or self.small_stem or self.weights is not None):
            msg = gettext("a copy of the teacher has its network and weights: leave out args, weights and small_stem")
            raise ValueError(msg)
        return self

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
        _ = self.reference, self.towers  # their faults are those of this block
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


class TeacherTraining(OwnDataTraining):
    """Training of a teacher.

    Attributes:
        data: Training samples of the teacher alone, as `data` of a stage `train`: a teacher that learns what the recipe's data
            do not show, such as to follow a system message. `keep: last` fits, since the metric is that of the recipe's data.
            None takes the training samples of the recipe.
        labels: `all` also takes the labels that `data.labelled` withholds: a teacher that was trained where the labels are, for
            a student that sees few of them.
    """

    labels: Literal["given", "all"] = "given"

    @model_validator(mode="after")
    def _labels_of_one_source(self) -> Self:
        if self.labels == "all" and self.data is not None:
            msg = gettext("labels: all are those of the recipe's data, and this training has data of its own; leave one out")
            raise ValueError(msg)
        return self


class TeacherSettings(ModelSettings):
    """A teacher: a network, and how to train it on this data where its weights do not already fit.

    Attributes:
        train: Training settings; None uses the network without training.
    """

    train: TeacherTraining | None = None
    whole_vocabulary: bool = True

    @field_validator("train", mode="before")
    @classmethod
    def _takes_training(cls, value: object) -> object:
        """The settings of any training."""
        if not isinstance(value, Training) or isinstance(value, TeacherTraining):
            return value
        return {name: getattr(value, name) for name in value.model_fields_set & TeacherTraining.model_fields.keys()}

    @model_validator(mode="after")
    def _needs_no_teacher(self) -> Self:
        if self.needs_teacher:
            msg = gettext("a teacher cannot start from the teacher; name a network that does not")
            raise ValueError(msg)
        return self
