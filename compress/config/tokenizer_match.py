"""Comparison of the tokenizers of pretrained networks with that of the data. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.core.language import gettext
from compress.core.registry import entries
from compress.core.user_path import user_path
from compress.data.settings import DataSettings
from compress.data.text.settings import FILE, TrainedTokenizer
from compress.models.settings import CONFIG, FRESH, ModelSettings, split_source
from compress.train.loss_term import LossTerm

VOCABULARY_FILE = "vocab.txt"
"""Tokens of BERT in their order, in a folder without `tokenizer.json`."""


def check_tokenizers(data: DataSettings, models: Iterable[tuple[KeyPath, ModelSettings]], base: Path) -> Iterator[Finding]:
    """Networks with weights for another tokenizer than that of the data: the same number is another token for them.

    Only tokenizers in files are compared.

    Args:
        data: The `data:` block with its tokenizer.
        models: Networks and teachers with their key paths.
        base: Folder for relative paths.
    """
    if not data.is_text:
        return
    for path, settings in models:
        kind, name = split_source(settings.source)
        if kind != "hf" or settings.weights == FRESH or CONFIG in settings.args:
            continue
        theirs = vocabulary(user_path(name, base))
        if theirs is None or not _differs(data, theirs, base):
            continue
        if path[0] == "teacher":
            yield (*path, "source"), _of_teacher(settings.source)
        else:
            yield (
                (*path, "source"),
                gettext(
                    "{source} has weights for another tokenizer than that of the data: the same number is another token; set "
                    "data.tokenizer: model, or weights: fresh",
                    source=settings.source,
                ),
            )


def vocabulary(path: Path) -> dict[str, int] | None:
    """Number of each token of a tokenizer in a file or folder; None if it cannot be read."""
    file = path / FILE if path.is_dir() else path
    try:
        if not file.is_file() and (path / VOCABULARY_FILE).is_file():
            lines = (path / VOCABULARY_FILE).read_text(encoding="utf-8").splitlines()
            return {token: number for number, token in enumerate(lines)}
        tokens = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
        if isinstance(tokens, list):  # Unigram: pairs of token and score
            return {str(token): number for number, (token, _) in enumerate(tokens)}
        return {str(token): int(number) for token, number in tokens.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _differs(data: DataSettings, theirs: dict[str, int], base: Path) -> bool:
    if isinstance(data.tokenizer, TrainedTokenizer):
        return True
    if data.tokenizer_source is None:
        return False
    own = vocabulary(user_path(data.tokenizer_source, base))
    return own is not None and own != theirs


def _of_teacher(source: str) -> str:
    aligned, of_samples = _loss_names()
    return gettext(
        "{source} has another tokenizer than the data: the same number is another token. Losses that compare tokens one by one "
        "need one tokenizer ({aligned}): set data.tokenizer: model. Otherwise write the teacher's answers to a file and use "
        "`teacher: {{soft_label_file: …}}` with losses on answers: {of_samples}",
        source=source,
        aligned=", ".join(aligned),
        of_samples=", ".join(of_samples),
    )


def _loss_names() -> tuple[Sequence[str], Sequence[str]]:
    """Names of the losses that compare tokens, and of those that need only the teacher's answers for a sample."""
    classes: dict[str, type[LossTerm]] = {row.name: row.load() for row in entries("loss")}
    aligned = [name for name, term in classes.items() if term.aligns_tokens]
    return aligned, [name for name, term in classes.items() if term.needs == ("teacher_logits",)]
