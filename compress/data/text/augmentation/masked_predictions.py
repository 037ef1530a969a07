"""Candidates of words from a masked language model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from compress.core.errors import DataError, MissingPackageError, message_line
from compress.core.language import gettext
from compress.data.text.augmentation.base import Draw, Editor
from compress.data.text.augmentation.replacement import STOP_WORDS, replace_each
from compress.data.text.augmentation.token_vectors import TokenNeighbours, token_table
from compress.data.text.augmentation.words import Words
from compress.data.text.ragged import Ragged
from compress.data.text.task_splits import mask_token
from compress.data.text.tokenizer import TextTokenizer
from compress.data.text.tokenizer_files import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding

Network = Callable[[Tensor, Tensor], Tensor]
"""Token numbers and attention mask, int64 (N, L) each → logits of all tokens, (N, L, V)."""


class Predicting(NamedTuple):
    """A masked language model.

    Attributes:
        run: Token numbers and attention mask → logits.
        module: Its module, with the table of tokens.
    """

    run: Network
    module: nn.Module


class _Hidden(NamedTuple):
    """A word that is hidden: the text, the word, and the place of its only token."""

    text: int
    word: int
    place: int


class MaskedPredictor:
    """Candidates of the words of texts.

    Args:
        network: The network.
        tokenizer: Of the network.
        k: Candidates of a word.
        batch_size: Texts that the network reads together.
        device: Of the network.
    """

    def __init__(self, network: Predicting, tokenizer: TextTokenizer, k: int, batch_size: int, device: str = "cpu") -> None:
        self.network, self.tokenizer = network, tokenizer
        self.k, self.batch_size, self.device = k, batch_size, device
        self.mask = mask_token(tokenizer)
        self.near = TokenNeighbours(tokenizer, token_table(network.module, tokenizer.vocabulary), k)
        self.words = self.near.words
        self.numbers = torch.tensor(list(self.words), dtype=torch.int64)

    def editor(self, p: float, *, stop_words: bool) -> Editor:
        """Replace each word with probability p by one of its candidates; words of grammar if `stop_words` says so."""

        def edit(texts: Sequence[Words]) -> list[Draw]:
            found = self.candidates(texts, stop_words=stop_words)
            return [partial(replace_each, words, own, p) for words, own in zip(texts, found, strict=True)]

        return edit

    def candidates(self, texts: Sequence[Words], *, stop_words: bool = False) -> list[dict[int, tuple[str, ...]]]:
        """Candidates of the words of each text by their index.

        Args:
            texts: The texts.
            stop_words: Whether words of grammar have candidates, too.
        """
        encodings = self.tokenizer.encodings([words.text for words in texts])
        hidden: list[_Hidden] = []
        longer: dict[int, dict[int, str]] = defaultdict(dict)
        for number, (words, encoding) in enumerate(zip(texts, encodings, strict=True)):
            for index, (word, span) in enumerate(zip(words.words, words.spans, strict=True)):
                tokens = _tokens_of(encoding, *span)
                if index in words.fixed or not tokens or (not stop_words and word.lower() in STOP_WORDS):
                    continue
                if len(tokens) == 1 and encoding.ids[tokens[0]] in self.words:
                    hidden.append(_Hidden(number, index, tokens[0]))
                else:
                    longer[number][index] = word
        near = self.near.of(word for words in longer.values() for word in words.values())
        found = [{index: near[word] for index, word in longer[number].items()} for number in range(len(texts))]
        for start in range(0, len(hidden), self.batch_size):
            chunk = hidden[start : start + self.batch_size]
            for place, words_found in zip(chunk, self._predict(chunk, texts, encodings), strict=True):
                found[place.text][place.word] = words_found
        return found

    @torch.no_grad()
    def _predict(
        self, hidden: Sequence[_Hidden], texts: Sequence[Words], encodings: Sequence[Encoding]
    ) -> list[tuple[str, ...]]:
        """The k most probable whole words for each hidden one, without itself."""
        rows = Ragged.of([encodings[place.text].ids for place in hidden], self.tokenizer.pad_id)
        ids = rows.padded(torch.arange(len(hidden)))
        places = torch.tensor([place.place for place in hidden])
        ids[torch.arange(len(hidden)), places] = self.mask
        mask = (torch.arange(ids.shape[1]) < rows.lengths[:, None]).long()
        logits = self.network.run(ids.to(self.device), mask.to(self.device))
        if logits.ndim != 3 or logits.shape[-1] < self.tokenizer.vocabulary:
            raise DataError(_no_predictions(tuple(logits.shape)))
        at_mask = logits[torch.arange(len(hidden)), places].float().cpu()[:, self.numbers]
        best = self.numbers[at_mask.topk(min(self.k + 1, at_mask.shape[1])).indices].tolist()
        own = [texts[place.text].words[place.word].casefold() for place in hidden]
        words = [[self.words[number] for number in row] for row in best]
        return [tuple(word for word in row if word.casefold() != name)[: self.k] for row, name in zip(words, own, strict=True)]


def _tokens_of(encoding: Encoding, start: int, end: int) -> list[int]:
    """Places of the tokens of a part of the text."""
    spans = zip(encoding.offsets, encoding.word_ids, strict=True)
    return [
        place for place, ((first, last), word) in enumerate(spans) if word is not None and first < end and start < last > first
    ]


def network_of_teacher(teacher: nn.Module, tokenizer: TextTokenizer) -> tuple[Predicting, TextTokenizer]:
    """A teacher as masked language model; whether it is one shows its first answer.

    Args:
        teacher: Token numbers, mask → logits of all tokens.
        tokenizer: Of the data.
    """

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        outputs = teacher(ids, mask)
        return outputs if isinstance(outputs, Tensor) else torch.zeros(0)

    return Predicting(run, teacher), tokenizer


def network_of_folder(folder: Path, most: int) -> tuple[Predicting, TextTokenizer]:
    """The network and the tokenizer of a folder of transformers.

    Args:
        folder: With `config.json`, `model.safetensors` and `tokenizer.json`.
        most: Longest sequence in tokens.

    Raises:
        DataError: No such folder, or its network predicts no tokens.
        MissingPackageError: transformers is not installed.
    """
    try:
        from transformers import AutoModelForMaskedLM
    except ImportError as error:
        raise MissingPackageError("transformers", "hf", gettext("masked_lm")) from error
    try:
        module, info = AutoModelForMaskedLM.from_pretrained(
            str(folder), output_loading_info=True, local_files_only=True, use_safetensors=True
        )
    except Exception as error:  # transformers raises errors of many kinds
        raise DataError(_no_head(folder, message_line(error))) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise DataError(_no_head(folder, gettext("it lacks {weights}", weights=", ".join(missing[:3]))))
    module.eval()

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = module(input_ids=ids, attention_mask=mask).logits
        return logits

    return Predicting(run, module), load_tokenizer(str(folder), folder, most)


def _no_head(folder: Path, reason: str) -> str:
    return gettext(
        "{folder} is no masked language model ({reason}); give a folder that AutoModelForMaskedLM.save_pretrained and the "
        "tokenizer's save_pretrained wrote, or use embedding_neighbours",
        folder=folder,
        reason=reason,
    )


def _no_predictions(shape: tuple[int, ...]) -> str:
    return gettext(
        "masked_lm needs logits of all tokens at each place, and the network gives outputs of the shape {shape}; name the "
        "folder of a masked language model as `source`, or use embedding_neighbours",
        shape=shape,
    )
