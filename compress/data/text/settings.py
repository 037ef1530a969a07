"""Settings of text data: columns, tokenizer and lengths. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.tasks.capability import Capability

ENDS = ("<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "</s>", "<eos>", "[SEP]")
"""Names of the token that ends a text, where the tokenizer's files name none, in the order of preference."""
Targets = Literal["classes", "labels", "values", "tags", "answers", "masked", "next", "responses", "scores", "matching"]
"""Kinds of targets: one class, any number of classes, or real numbers for each sample; a tag for each word; answers in the
second text; masked tokens, or next tokens, of the texts themselves; responses to prompts; scores of pairs of texts, or pairs
that belong together."""
WHOLE: tuple[Targets | None, ...] = (None, "classes", "labels", "values")
"""Targets of single samples; None is classes."""
PAIRS: tuple[Targets, ...] = ("scores", "matching")
WHOLE_TEXTS: tuple[Targets | None, ...] = (*WHOLE, *PAIRS)
"""Targets of whole texts and pairs of texts, which do not depend on how a text is divided into tokens."""
WRITTEN: tuple[Targets, ...] = ("next", "responses")
"""Targets of networks that write texts."""
DECODER_IDS = "decoder_input_ids"
"""Name of the input with the tokens of a response, the first of which is the start."""
FILE = "tokenizer.json"
"""File of a tokenizer."""
GENERATED_FILE = "texts.jsonl"
"""File of the texts of a stage `generate`, in its folder."""
MODEL = "model"
"""Tokenizer of the network that the recipe starts from."""


class Columns(FrozenModel):
    """Columns of a table of texts.

    Attributes:
        text: Name of the column of texts.
        text_pair: Name of the column of second texts; None for single texts.
        target: Name of the column of targets, or of several columns, each of which is a class (0 or 1) or a value; a table
            without the column `target` has no targets.
        targets: What the targets are: `classes`, one for each sample; `labels`, any number of classes, separated by
            `separator`; `values`, real numbers; `tags` of words, or labelled spans; `answers` to the question `text` in
            `text_pair`; `masked` or `next`, tokens of the texts themselves; `responses`, the tokens of `response` after those
            of `prompt`; `scores` of pairs, or `matching` pairs. None is what the task needs, by default classes.
        group: Name of the column with the group of each text, such as its dialect or source; the report shows the metric of
            each group of the test split. None for no groups.
        separator: Separator of the classes of a sample in one column, for `labels`.
        prompt: Of `next` and `responses`: name of the column of prompts, with `response`; loss and metrics are of the responses
            alone. Of `image_questions:` the questions, in the column `question` where none is named.
        response: Name of the column of responses; of `image_questions:` the answers, by default `answer`.
        messages: Of `next`: name of a column of conversations in place of both, each a list of `{role: …, content: …}`; loss
            and metrics are of the messages of the role `assistant` alone.
        image: Of images with captions: name of the column of paths, from the folder of the table.
        caption: Of images with captions: name of the column of captions; `target` is that of the class, if there is one.
        class_sentence: Of images with captions: a sentence about a class with `{}` for its name. None is what the task needs,
            its `zero_shot`.
    """

    text: str = "text"
    text_pair: str | None = None
    target: str | tuple[str, ...] = "target"
    targets: Targets | None = None
    group: str | None = None
    separator: str = Field(default=",", min_length=1)
    prompt: str | None = None
    response: str | None = None
    messages: str | None = None
    image: str = "image"
    caption: str = "caption"
    class_sentence: str | None = Field(default=None, pattern=r"\{\}")

    @property
    def has_responses(self) -> bool:
        """Whether a sample is a prompt with a response, or a conversation."""
        return self.prompt is not None or self.messages is not None

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """What the task must have for the columns that are named."""
        needed: Mapping[str, Capability] = {"prompt": "takes_prompts", "messages": "writes_text"}
        return {name: (capability,) for name, capability in needed.items() if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.prompt is None) != (self.response is None):
            given, other = ("prompt", "response") if self.response is None else ("response", "prompt")
            msg = gettext(
                "columns: {given} is named, and {other} is not; name both: `columns: {{prompt: question, response: answer}}`",
                given=given,
                other=other,
            )
            raise ValueError(msg)
        if self.prompt is not None and self.messages is not None:
            msg = gettext(
                "columns: a sample is a prompt with a response, or a conversation; name `prompt` and `response`, or `messages`"
            )
            raise ValueError(msg)
        if self.has_responses and self.text_pair is not None:
            msg = gettext("columns: text_pair has no effect on prompts and conversations; leave it out")
            raise ValueError(msg)
        return self


class TrainedTokenizer(FrozenModel):
    """A tokenizer that is trained on the training texts.

    Attributes:
        train: `wordpiece` (BERT), `bpe` (bytes, GPT-2), or `unigram` (SentencePiece).
        vocabulary: Largest number of tokens, with the special ones.
        lowercase: Whether texts are lower-cased, and accents removed, first.
    """

    train: Literal["wordpiece", "bpe", "unigram"]
    vocabulary: int = Field(default=8000, ge=16, le=1_000_000)
    lowercase: bool = True


class PrunedTokenizer(FrozenModel):
    """A tokenizer without the tokens that the training texts never use.

    Attributes:
        of: The tokenizer: `model`, a folder with `tokenizer.json`, the file itself, or a name on the hub.
        keep: `used`: tokens of the training texts, special tokens, single characters and bytes.
    """

    of: str = MODEL
    keep: Literal["used"]


class Masking(FrozenModel):
    """How tokens are masked for a masked language model: of the chosen ones 80 % are masked, 10 % replaced, 10 % kept.

    Attributes:
        probability: Of a token to be chosen.
        whole_words: Whether all tokens of a word are chosen together.
        views: How many ways of masking a training text cycles through; those of validation and test texts are fixed.
    """

    probability: float = Field(default=0.15, gt=0.0, lt=1.0)
    whole_words: bool = False
    views: int = Field(default=10, ge=1, le=1000)


class Lengths(FrozenModel):
    """Lengths of sequences in tokens, with special tokens.

    Attributes:
        typical: Length that is served most; of examples, timings and estimates.
        most: Longest sequence; longer ones are cut. Of `next`: length of the blocks that texts are packed into.
        stride: Of `answers`: tokens that two windows of a longer text share; None cuts the text in place of windows.
        prompt: Of prompts: longest one in tokens. None leaves a prompt what its response does not need, and at least half of
            `most`. Of `responses` there is no such limit: prompt and response may have `most` each.
        overlong: Of prompts and responses that do not fit: `cut` the beginning of the prompt, and the end of the response, or
            `refuse` them.
    """

    typical: int = Field(default=64, ge=1, le=1_000_000)
    most: int = Field(default=512, ge=2, le=1_000_000)
    stride: int | None = Field(default=None, ge=1)
    prompt: int | None = Field(default=None, ge=1)
    overlong: Literal["cut", "refuse"] = "cut"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.prompt is not None and self.prompt >= self.most:
            msg = gettext(
                "lengths: prompt {prompt} leaves no room for a response in most {most}; lower `prompt`, or raise `most`",
                prompt=self.prompt,
                most=self.most,
            )
            raise ValueError(msg)
        if self.typical > self.most:
            msg = gettext(
                "lengths: typical {typical} is above most {most}; lower `typical`, or raise `most`",
                typical=self.typical,
                most=self.most,
            )
            raise ValueError(msg)
        return self
