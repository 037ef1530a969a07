"""The `data:` block of a recipe and its source string, such as `imagefolder:photos`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.core.errors import DataError, nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import lookup, names
from compress.core.user_path import user_path
from compress.data.audio.settings import AudioSettings
from compress.data.misplaced_fields import AUDIO_FIELDS, IMAGE_FIELDS, OTHER_FIELDS, TEXT_FIELDS, augment_texts
from compress.data.text.settings import Columns, Lengths, Masking, PrunedTokenizer, TrainedTokenizer

if TYPE_CHECKING:
    from compress.tasks.capability import Capability


Pixels = Annotated[int, Field(ge=8, le=1024)]
Size = tuple[int, int]
"""Height and width, pixels."""
SMOKE_PIXELS = 32
SMOKE_TOKENS = 32
SMOKE_CLIPS = 62
NO_TEMPLATE = "none"
"""`chat_template` for a response that follows its prompt."""


class DataSettings(FrozenModel):
    """Data source, image size, splits and augmentation.

    Attributes:
        source: `digits`, `glyphs`, `drawn_parts`, `cifar10`, `cifar100`, `imagefolder:PATH`; `masks:PATH` and `shapes_masks`
            for segmentation;
            `npz:PATH` (named arrays), `images:PATH` (without labels), `random:MODEL.onnx` (noise);
            texts: `csv:PATH`, `jsonl:PATH`, `parquet:PATH`, `hf_dataset:NAME_OR_FOLDER`, `text:PATH` (no targets),
                `python_docs` (areas of sentences, or with columns `definition` and `summary` prompts with responses),
                `word_tasks:reverse,sort` (drawn words with exact answers, see the columns in its module);
            `image_captions:PATH` (a table of image files and captions), `drawn_captions` (drawn scenes with captions);
            `image_questions:PATH` (a table of image files, questions and answers), `drawn_questions` (drawn scenes with both),
                `drawn_shape_questions` (drawn images of one shape with both);
            `image_lines:PATH` (a table of lines of text in images), `drawn_lines` (drawn lines);
            audio: `audio_manifest:PATH` (a table of files), `spoken_digits_synthetic` and `voice_activity_synthetic` (drawn);
            `distilled:PATH` (a set that the stage `dataset_distillation` made); `python:FILE.py:FUNCTION` (needs --trust-code).
        image_size: Pixels that the network sees: one number for height and width, or `[height, width]`.
        channels: 3, or 1 for networks with grey images.
        validation: Fraction of the training images held out for decisions: best epoch, ratios, calibration.
        test: Fraction held out for the final metrics, if the source has no test split.
        limit: Use at most this many training images (class-balanced); None for all.
        labelled: Only this many training images (class-balanced) keep their label; the others serve losses that need none, such
            as the imitation of a teacher. None for all.
        evaluation_limit: Use at most this many validation images and as many test images (class-balanced); None for all.
        samples: How many training images a generated source (`glyphs`, `drawn_parts`, `shapes_masks`) draws, or training
            clips (`spoken_digits_synthetic`, `voice_activity_synthetic`).
        augment: `none`; `light` (small shifts, scales, rotations); `standard` (random resized crop, flip); `randaugment`. A
            `distilled:` set has its own augmentation and number of views; `none` turns it off. For images; texts are augmented
            by `augment` of a stage `train` or `distill`.
        views: How many different augmented views of a sample training cycles through; teacher logits are cached per view.
        workers: Number of loader processes; 0 loads in the main process.
        sizes: Sizes of free axes by name for `random:`; `height` and `width` for `images:`, where they are not `image_size`.
        mean: Mean per channel of pixels in [0, 1] for `images:`; None is that of ImageNet.
        std: Standard deviation per channel for `images:`; None is that of ImageNet.
        seed: Seed of splits, generated data and augmentation.
        columns: Columns of a table of texts.
        tokenizer: Of texts: `model`, that of the `hf:` network of the recipe (of its teacher, if it has one); a folder with
            `tokenizer.json`, the file itself, or a name on the hub; or `{train: wordpiece, vocabulary: 8000}` to train one on
            the training texts; or `{of: model, keep: used}`, one without the tokens that the training texts never use. None is
            `model` where the recipe has such a network, else a trained WordPiece tokenizer, or for a causal language model BPE.
        lengths: Lengths of sequences in tokens; longer texts are cut.
        masking: How tokens are masked for the task `masked_language_model`.
        encoding: Character encoding of files with texts, and of manifests of audio.
        audio: Sampling rate, lengths and targets of audio clips.
        groups: CSV file with the columns `file`, relative to the folder of the data, and `group`, such as a camera, for figures
            of each group of test images; for sources of image files. Texts have `columns: {group: NAME}`.
        chat_template: How prompts, responses and conversations become one text: a template of Jinja, the path of a `.jinja`
            file with one, or `none`, which writes a response after its prompt, on a new line unless the prompt ends in white
            space. None is the template beside the tokenizer, and `none` where there is none.
    """

    source: str = "digits"
    image_size: Pixels | tuple[Pixels, Pixels] = 64
    channels: Literal[1, 3] = 3
    validation: float = Field(default=0.15, gt=0.0, lt=0.9)
    test: float = Field(default=0.3, gt=0.0, lt=0.9)
    limit: int | None = Field(default=None, ge=1)
    labelled: int | None = Field(default=None, ge=1)
    evaluation_limit: int | None = Field(default=None, ge=1)
    samples: int = Field(default=10_000, ge=62)
    augment: Literal["none", "light", "standard", "randaugment"] = "light"
    views: int = Field(default=4, ge=1, le=1000)
    workers: int = Field(default=0, ge=0)
    sizes: dict[str, Annotated[int, Field(ge=1, le=100_000)]] = Field(default_factory=dict)
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0.0)], ...] | None = None
    seed: int = 0
    columns: Columns = Columns()
    tokenizer: TrainedTokenizer | PrunedTokenizer | str | None = None
    lengths: Lengths = Lengths()
    masking: Masking = Masking()
    encoding: str = "utf-8"
    groups: str | None = None
    chat_template: str | None = None
    audio: AudioSettings = AudioSettings()

    @field_validator("augment", mode="before")
    @classmethod
    def _is_of_images(cls, value: object) -> object:
        if isinstance(value, list | Mapping) or value in names("text_augmentation"):
            raise ValueError(gettext("data.augment is for images; {advice}", advice=augment_texts()))
        return value

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.validation + self.test >= 0.95:
            msg = gettext(
                "validation {validation} and test {test} leave less than 5 % for training; lower one of them",
                validation=self.validation,
                test=self.test,
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _template_has_messages(self) -> Self:
        if self.chat_template is not None and not self.columns.has_responses:
            msg = gettext(
                "data.chat_template is for prompts and conversations; name their columns: `columns: {prompt: question, "
                "response: answer}`, or `columns: {messages: messages}`"
            )
            raise ValueError(msg)
        if self.chat_template == NO_TEMPLATE and self.columns.messages is not None:
            msg = gettext("data.chat_template: conversations need a template; leave `none` out, or give a template")
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> str:
        """`image`, `text`, `image_text` for images with captions, `audio`, or `any` for any kind and an unknown source."""
        known = self.source.partition(":")[0] in names("data")
        return str(self._source_options.get("kind", "image")) if known else "any"

    @property
    def _source_options(self) -> Mapping[str, Any]:
        """Options of the registry's row of the source; none of an unknown one."""
        name = self.source.partition(":")[0]
        return lookup("data", name).options if name in names("data") else {}

    @property
    def is_text(self) -> bool | None:
        """Whether the source gives texts alone; None for a source of any kind of data, and for an unknown one."""
        return None if self.kind == "any" else self.kind == "text"

    @property
    def has_texts(self) -> bool:
        """Whether samples are texts or have one, so that there is a tokenizer."""
        return self.kind in ("text", "image_text")

    @property
    def tokenizer_source(self) -> str | None:
        """Where the tokenizer is read from; None where none is read."""
        choice = self.tokenizer
        return choice.of if isinstance(choice, PrunedTokenizer) else choice if isinstance(choice, str) else None

    @property
    def misplaced(self) -> tuple[str, ...]:
        """Fields that are set, and that the kind of data does not have."""
        if self.is_text is None:
            return ()
        others = {
            "text": (*IMAGE_FIELDS, *AUDIO_FIELDS),
            "image_text": (*OTHER_FIELDS, *AUDIO_FIELDS),
            "audio": tuple(name for name in (*IMAGE_FIELDS, *TEXT_FIELDS) if name not in self._of_audio),
        }.get(self.kind, (*TEXT_FIELDS, *AUDIO_FIELDS))
        others = tuple(name for name in others if name not in self._source_options.get("fields", ()))
        defaults = {name: field.get_default(call_default_factory=True) for name, field in type(self).model_fields.items()}
        return tuple(name for name in others if name in self.model_fields_set and getattr(self, name) != defaults[name])

    @property
    def _of_audio(self) -> tuple[str, ...]:
        """Fields of other kinds of data that clips have too; a tokenizer, which is the network's, where targets are tokens."""
        return ("samples", "encoding", *(("tokenizer",) if self.audio.targets == "tokens" else ()))

    @property
    def size(self) -> Size:
        """Height and width in pixels that the network sees."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Capabilities of the task that each field in use needs; the default augmentation, only for images, needs none."""
        if self.has_texts or self.kind == "audio" or self.augment == "none" or "augment" not in self.model_fields_set:
            return {}
        return {"augment": ("image_input",)}

    def smoke(self) -> Self:
        """The same source with few samples."""
        sizes: dict[str, object] = {"image_size": self._smoke_size(), "samples": min(self.samples, 310)}
        if self.kind == "audio":
            sizes = {"samples": min(self.samples, SMOKE_CLIPS)}
        if self.is_text:
            sizes = {"lengths": self._smoke_lengths()}
        elif self.has_texts:
            sizes |= {"lengths": self._smoke_lengths()}
        return self.model_copy(
            update={
                **sizes,
                "limit": min(self.limit or 96, 96),
                "labelled": None if self.labelled is None else min(self.labelled, 48),
                "evaluation_limit": min(self.evaluation_limit or 96, 96),
            }
        )

    def _smoke_lengths(self) -> Lengths:
        """At most `SMOKE_TOKENS` tokens."""
        most, prompt = min(self.lengths.most, SMOKE_TOKENS), self.lengths.prompt
        return Lengths(
            typical=min(self.lengths.typical, most), most=most, prompt=None if prompt is None else min(prompt, most // 2)
        )

    def _smoke_size(self) -> int | Size:
        """At most `SMOKE_PIXELS` a side; sides that differ are multiples of 8, in about the same ratio."""
        if isinstance(self.image_size, int):
            return min(self.image_size, SMOKE_PIXELS)
        scale = min(1.0, SMOKE_PIXELS / max(self.image_size))
        height, width = (max(8, round(side * scale / 8) * 8) for side in self.image_size)
        return height, width


@dataclass(frozen=True)
class DataSource:
    """Source of a data set.

    Attributes:
        name: A row of family `data` in the registry.
        argument: Text after the first colon.
        base: Folder for relative paths.
        trust_code: Whether the user's code may run.
    """

    name: str
    argument: str
    base: Path
    trust_code: bool = False

    @property
    def path(self) -> Path:
        """The argument as a path."""
        return user_path(self.argument, self.base).absolute()


def parse_source(source: str, base: Path, *, trust_code: bool = False) -> DataSource:
    """Split `NAME` or `NAME:ARGUMENT`.

    Raises:
        DataError: The name is unknown, or the argument is missing or not allowed.
    """
    name, colon, argument = source.partition(":")
    if name not in names("data"):
        raise _unknown(source, name)
    placeholder = lookup("data", name).options.get("argument")
    if placeholder and not argument:
        msg = gettext(
            "data source {source!r} lacks its argument: write {name}:{placeholder}",
            source=source,
            name=name,
            placeholder=placeholder,
        )
        raise DataError(msg)
    if colon and not placeholder:
        msg = gettext("data source {name!r} takes no argument, got {argument!r}: write {name}", name=name, argument=argument)
        raise DataError(msg)
    return DataSource(name, argument, base, trust_code)


def _unknown(source: str, name: str) -> DataError:
    """The error of a name that is no data source, or of a path alone."""
    if name == Path(name).stem:
        msg = gettext("unknown data source {name!r}: {hint}", name=name, hint=nearest(name, names("data")))
        return DataError(msg)
    takers = [each for each in names("data") if lookup("data", each).options.get("argument") == "PATH"]
    msg = gettext(
        "{source!r} is a path without its kind of data: write KIND:{source}, where KIND is one of {takers}",
        source=source,
        takers=", ".join(takers),
    )
    return DataError(msg)
