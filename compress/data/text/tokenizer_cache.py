"""Trained tokenizers in the user's cache, for trainers that give another result each time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from compress.core.atomic_files import write_text
from compress.core.user_path import user_cache
from compress.data.text.settings import TrainedTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def remembered(settings: TrainedTokenizer, texts: Sequence[str], train: Callable[[], Tokenizer]) -> Tokenizer:
    """The tokenizer that an earlier call trained with the same settings on the same texts, else a new one, which is kept.

    Args:
        settings: Of the training.
        texts: Training texts.
        train: Trains a tokenizer.
    """
    from tokenizers import Tokenizer

    digest = hashlib.sha256(f"{settings.model_dump_json()} {version('tokenizers')}".encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode(errors="surrogatepass")).digest())
    path = user_cache() / "tokenizers" / f"{digest.hexdigest()[:24]}.json"
    with suppress(OSError, ValueError):
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    made = train().to_str()
    with suppress(OSError):  # without a cache the next run trains another one
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, made)
    return Tokenizer.from_str(made)  # as the next call reads it: its numbers are rounded
