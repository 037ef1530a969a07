"""A tokenizer without the tokens that texts never use.

Every text that was looked at is split as before; other texts are split into the tokens that are left, down to single characters
or bytes. Special and added tokens, single characters and bytes always stay. By kind of tokenizer:

    wordpiece   the longest token at each place wins; the tokens before the place where an unknown word fails stay, too
    bpe         a token needs the merges that make it: of each used token, all merges on the way to it and their parts stay
    unigram     the likeliest split wins; the least likely piece stays, as the penalty of unknown characters follows it
    wordlevel   a token is a word
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.core.errors import DataError
from compress.core.kept_tokens import KeptTokens
from compress.core.language import gettext

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""Token of a byte, for characters without a token."""
Model = dict[str, Any]
"""The entry `model` of a `tokenizer.json`."""


def prune_vocabulary(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tokenizer, KeptTokens]:
    """Remove the tokens that texts do not use; the others are numbered anew, in their order.

    Args:
        tokenizer: A tokenizer; its truncation and padding stay, and do not count here. Not changed.
        texts: N texts.

    Returns:
        The pruned tokenizer, and the old numbers of its tokens.

    Raises:
        DataError: A text would be split otherwise.
    """
    from tokenizers import Tokenizer as Made

    content: dict[str, Any] = json.loads(tokenizer.to_str())
    whole = _without_limits(content)
    used, unknown = _used(whole, texts, str(content["model"].get("unk_token")))
    model: Model = content["model"]
    numbers = _numbers(content)
    added = {str(token["content"]) for token in content["added_tokens"]} | {str((content["padding"] or {}).get("pad_token"))}
    kept = {token for token in _KEEP[model["type"]](model, used, unknown) | added if token in numbers}
    order = sorted(kept, key=numbers.__getitem__)
    new = {numbers[token]: number for number, token in enumerate(order)}
    pruned = Made.from_str(json.dumps(_renumbered(content, kept, numbers, new)))
    _check(whole, Made.from_str(json.dumps(_renumbered(json.loads(whole.to_str()), kept, numbers, new))), texts, new)
    return pruned, KeptTokens.of(new, max(numbers.values()) + 1)


def _without_limits(content: dict[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))


def _used(tokenizer: Tokenizer, texts: Sequence[str], unknown: str) -> tuple[set[str], set[str]]:
    """Tokens of texts, and the words without one."""
    used: set[str] = set()
    words: set[str] = set()
    for text, encoding in zip(texts, tokenizer.encode_batch(list(texts)), strict=True):
        used.update(encoding.tokens)
        if unknown in encoding.tokens:
            places = [place for token, place in zip(encoding.tokens, encoding.offsets, strict=True) if token == unknown]
            words.update(text[start:end] for start, end in places)
    normalizer = tokenizer.normalizer
    return used, words if normalizer is None else {normalizer.normalize_str(word) for word in words}


def _keep_wordpiece(model: Model, used: set[str], unknown: Iterable[str]) -> set[str]:
    vocabulary, prefix = model["vocab"], str(model["continuing_subword_prefix"])
    kept = {token for token in vocabulary if token in used or len(token.removeprefix(prefix)) == 1}
    for word in unknown:
        kept.update(_longest_tokens(word, vocabulary, prefix))
    return kept | {str(model["unk_token"])}


def _longest_tokens(word: str, vocabulary: Mapping[str, int], prefix: str) -> list[str]:
    """Tokens of a word up to the place where no token fits."""
    tokens: list[str] = []
    start = 0
    while start < len(word):
        ends = range(len(word), start, -1)
        piece = next((end for end in ends if (prefix if start else "") + word[start:end] in vocabulary), None)
        if piece is None:
            break
        tokens.append((prefix if start else "") + word[start:piece])
        start = piece
    return tokens


def _keep_bpe(model: Model, used: set[str], _: Iterable[str]) -> set[str]:
    vocabulary = model["vocab"]
    prefix, suffix = (str(model.get(key) or "") for key in ("continuing_subword_prefix", "end_of_word_suffix"))
    ranks = {pair: rank for rank, pair in enumerate(_merges(model))}
    kept = {token for token in vocabulary if token in used or _is_atom(token, prefix, suffix)} | {str(model.get("unk_token"))}
    for token in used & vocabulary.keys():
        kept.update(_merged_parts(_symbols(token, prefix, suffix), ranks, prefix))
    return kept


def _merges(model: Model) -> list[tuple[str, str]]:
    """Pairs in the order of their rank; older files have each as one text."""
    pairs = (entry.split(" ") if isinstance(entry, str) else entry for entry in model["merges"])
    return [(str(first), str(second)) for first, second in pairs]


def _is_atom(token: str, prefix: str, suffix: str) -> bool:
    """Whether it is a single character or a byte."""
    return len(token.removeprefix(prefix)) == 1 or len(token.removesuffix(suffix)) == 1 or bool(_BYTE.fullmatch(token))


def _symbols(token: str, prefix: str, suffix: str) -> list[str]:
    """Characters that a token is merged of."""
    ends = bool(suffix) and token.endswith(suffix)
    starts = bool(prefix) and token.startswith(prefix)
    letters = list(token[len(prefix) if starts else 0 : len(token) - len(suffix) if ends else len(token)])
    if not letters:
        return [token]
    symbols = [letter if not number and not starts else prefix + letter for number, letter in enumerate(letters)]
    return [*symbols[:-1], symbols[-1] + (suffix if ends else "")]


def _merged_parts(symbols: list[str], ranks: Mapping[tuple[str, str], int], prefix: str) -> set[str]:
    """All symbols on the way from characters to a token; merges within a token do not depend on what is around it."""
    parts = set(symbols)
    while len(symbols) > 1:
        pairs = [(ranks.get((symbols[place], symbols[place + 1]), len(ranks)), place) for place in range(len(symbols) - 1)]
        rank, place = min(pairs)
        if rank == len(ranks):
            break
        joined = _joined(symbols[place], symbols[place + 1], prefix)
        symbols = [*symbols[:place], joined, *symbols[place + 2 :]]
        parts.add(joined)
    return parts


def _joined(first: str, second: str, prefix: str) -> str:
    return first + second.removeprefix(prefix)


def _keep_unigram(model: Model, used: set[str], _: Iterable[str]) -> set[str]:
    pieces = model["vocab"]
    least = min(pieces, key=lambda piece: float(piece[1]))[0]
    always = {str(least)} if model.get("unk_id") is None else {str(least), str(pieces[model["unk_id"]][0])}
    return always | {piece for piece, _ in pieces if piece in used or len(piece) == 1 or _BYTE.fullmatch(piece)}


def _keep_wordlevel(model: Model, used: set[str], _: Iterable[str]) -> set[str]:
    return {token for token in model["vocab"] if token in used or len(token) == 1} | {str(model["unk_token"])}


_KEEP: Mapping[str, Callable[[Model, set[str], Iterable[str]], set[str]]] = {
    "WordPiece": _keep_wordpiece,
    "BPE": _keep_bpe,
    "Unigram": _keep_unigram,
    "WordLevel": _keep_wordlevel,
}
"""Tokens that stay, by the kind of model: of its entries, the used tokens, and the words without a token."""


def _numbers(content: Mapping[str, Any]) -> dict[str, int]:
    """Number of each token."""
    vocabulary = content["model"]["vocab"]
    pieces = (
        {str(piece): number for number, (piece, _) in enumerate(vocabulary)} if isinstance(vocabulary, list) else vocabulary
    )
    return {**{str(token["content"]): int(token["id"]) for token in content["added_tokens"]}, **pieces}


def _renumbered(content: dict[str, Any], kept: set[str], numbers: Mapping[str, int], new: Mapping[int, int]) -> dict[str, Any]:
    model: Model = dict(content["model"])
    if isinstance(model["vocab"], list):
        unknown = model.get("unk_id")
        model["vocab"] = [entry for entry in model["vocab"] if entry[0] in kept]
        model["unk_id"] = None if unknown is None else new[unknown]
    else:
        model["vocab"] = {token: new[numbers[token]] for token in model["vocab"] if token in kept}
    if "merges" in model:
        known = model["vocab"]
        prefix = str(model.get("continuing_subword_prefix") or "")
        model["merges"] = [
            [first, second]
            for first, second in _merges(model)
            if {first, second, _joined(first, second, prefix)} <= known.keys()
        ]
    padding = content.get("padding")
    return {
        **content,
        "model": model,
        "added_tokens": [{**token, "id": new[token["id"]]} for token in content["added_tokens"]],
        "post_processor": _renumbered_processor(content.get("post_processor"), new),
        "padding": padding and {**padding, "pad_id": new.get(padding["pad_id"], 0)},
    }


def _renumbered_processor(processor: Any, new: Mapping[int, int]) -> Any:
    if not isinstance(processor, dict):
        return processor
    changed = dict(processor)
    if "processors" in changed:
        changed["processors"] = [_renumbered_processor(part, new) for part in changed["processors"]]
    for key in ("sep", "cls"):
        if isinstance(changed.get(key), list):
            changed[key] = [changed[key][0], new[changed[key][1]]]
    if isinstance(changed.get("special_tokens"), dict):
        changed["special_tokens"] = {
            name: {**token, "ids": [new[number] for number in token["ids"]]}
            for name, token in changed["special_tokens"].items()
        }
    return changed


def _check(whole: Tokenizer, pruned: Tokenizer, texts: Sequence[str], new: Mapping[int, int]) -> None:
    """Check that texts have the same tokens.

    Raises:
        DataError: One has not.
    """
    before, after = (tokenizer.encode_batch(list(texts)) for tokenizer in (whole, pruned))
    for text, old, other in zip(texts, before, after, strict=True):
        if [new.get(number) for number in old.ids] != other.ids:
            msg = gettext(
                "without its unused tokens, the tokenizer splits {text!r} otherwise; leave out `keep: used`", text=text[:60]
            )
            raise DataError(msg)
