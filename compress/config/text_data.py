"""Settings of text data that follow from others: the tokenizer of the recipe's networks, and the targets of the task.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.misplaced_fields import misplaced_message
from compress.data.settings import DataSettings
from compress.data.text.settings import MODEL, PrunedTokenizer, Targets
from compress.models.settings import ModelSettings, split_source
from compress.tasks.base import Task

TARGETS: dict[str, dict[str, Targets]] = {
    "text_classification": {"single": "classes", "multilabel": "labels", "regression": "values"},
    "token_classification": {"": "tags"},
    "question_answering": {"": "answers"},
    "masked_language_model": {"": "masked"},
    "causal_language_model": {"": "next"},
    "visual_language": {"": "next"},
    "sequence_to_sequence": {"": "responses"},
    "embedding": {"scored": "scores", "matching": "matching"},
}
"""Targets of the tasks of texts, by their option `kind` or `pairs`."""
WITH_TOKENS = ("text", "decoder")
"""Names of the parts of a network that read tokens."""


def check_text_data(data: DataSettings, models: Sequence[tuple[KeyPath, ModelSettings]]) -> Iterator[Finding]:
    """Settings of another kind of data, and a tokenizer of a network that has none.

    Args:
        data: The `data:` block.
        models: Networks and teachers with their key paths.
    """
    for field in data.misplaced:
        yield ("data", field), misplaced_message(data, field)
    if data.has_texts and data.tokenizer_source == MODEL and tokenizer_of(settings for _, settings in models) is None:
        yield (
            ("data", "tokenizer"),
            gettext(
                "neither the model nor a teacher is an hf: network with a tokenizer; give a folder with tokenizer.json, or "
                "train one: tokenizer: {train: wordpiece, vocabulary: 8000}"
            ),
        )


def check_generated(data: DataSettings, task: Task) -> Iterator[Finding]:
    """Metrics of written texts without prompts to write them to."""
    writes = data.kind in ("any", "image_text") or (data.kind == "text" and data.columns.has_responses)
    if task.generated is not None and not writes:
        yield (
            ("data", "columns"),
            gettext(
                "task.generated compares written texts with responses, and the data have none; name their columns: `columns: "
                "{prompt: question, response: answer}`, or leave `generated` out"
            ),
        )


def complete_text_data(data: DataSettings, models: Iterable[ModelSettings], task: Task, base: Path) -> DataSettings:
    """The settings with the tokenizer and the targets that follow from the networks and the task.

    Args:
        data: The `data:` block.
        models: The teachers, then the model.
        task: The task.
        base: Folder for relative paths.
    """
    if not data.has_texts:
        return data
    update: dict[str, object] = {}
    is_model = data.tokenizer_source == MODEL
    source = tokenizer_of(models) if is_model or data.tokenizer is None else None
    if source is not None and (is_model or has_tokenizer(source, base)):
        choice = data.tokenizer
        update["tokenizer"] = choice.model_copy(update={"of": source}) if isinstance(choice, PrunedTokenizer) else source
    sentence = getattr(task, "zero_shot", None)
    if sentence is not None and data.kind == "image_text" and data.columns.class_sentence is None:
        update["columns"] = data.columns.model_copy(update={"class_sentence": sentence})
    targets = targets_of(task)
    if targets is not None and data.columns.targets is None:
        update["columns"] = data.columns.model_copy(update={"targets": targets})
    return data.model_copy(update=update) if update else data


def targets_of(task: Task) -> Targets | None:
    """The targets of a task of texts; None for another one."""
    return TARGETS.get(task.name, {}).get(str(getattr(task, "kind", getattr(task, "pairs", ""))))


def tokenizer_of(models: Iterable[ModelSettings]) -> str | None:
    """Folder or name of the first network of Hugging Face, which has the tokenizer of all; None without one."""
    for settings in models:
        own = next((tower for name, tower in settings.towers.items() if name in WITH_TOKENS), settings)
        for source in filter(None, (own.source, own.architecture)):
            kind, name = split_source(source)
            if kind == "hf":
                return name
    return None


def has_tokenizer(source: str, base: Path) -> bool:
    """Whether a folder has a tokenizer; any other name is one on the hub, where networks of texts have one."""
    folder = user_path(source, base)
    names = ("tokenizer.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json")
    return not folder.is_dir() or any((folder / name).is_file() for name in names)
