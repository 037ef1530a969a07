"""Tokens that a quantized language model changes: its likeliest tokens after texts that the float network writes.

    y_t = argmax p_float(· | x, y_<t)        changed_t = [argmax p_quantized(· | x, y_<t) ≠ y_t],   t = 1 … T

Both networks read the same tokens, so that one change does not count those after it. The first change is where a text that the
quantized network writes by itself leaves that of the float network. Both run with past keys and values, as their artifacts do:
a prompt at once, then one token after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.backends.decoder.open_writer import Writer, open_writer
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metric, Metrics, Quantity
from compress.core.stage import Context
from compress.distill.generation.prepare import end_token
from compress.distill.speculative.requests import request_prompts
from compress.tasks.metric import RatioOfSums
from compress.tasks.metric_quantity import estimate

PROMPTS, TOKENS = 32, 32
"""Prompts, and most tokens of the text after each."""
Text = tuple[list[int], list[int]]
"""Tokens of a prompt, and those that the float network writes after it."""


CHANGED = RatioOfSums(Metric(name="changed_tokens", label="changed tokens", unit="fraction", higher_is_better=False))
"""Fraction of the float network's tokens that are not the likeliest ones of the quantized network."""


@dataclass(frozen=True)
class TokenChanges:
    """Changed tokens of one network.

    Attributes:
        counts: Changed tokens and tokens of each text, (N, 2).
        firsts: Tokens before the first changed one, of the texts with one.
    """

    counts: np.ndarray
    firsts: tuple[int, ...]

    def quantities(self) -> Metrics:
        """`changed_tokens`, a fraction, and `first_changed_token`, the median number of tokens before it."""
        texts = len(self.counts)
        where = gettext("likeliest tokens after {texts} validation prompts, against the float file", texts=texts)
        if self.firsts:
            where_first = gettext("median of the {count} of {texts} texts that change", count=len(self.firsts), texts=texts)
            first = Quantity.measured(float(np.median(self.firsts)), "1", where_first, runs=len(self.firsts))
        else:
            first = Quantity.missing("1", gettext("no token of {texts} texts changes", texts=texts))
        return {"changed_tokens": estimate(CHANGED, self.counts, where), "first_changed_token": first}

    def fact(self) -> Fact:
        """How many tokens change, for the record."""
        changed, tokens = (int(each) for each in self.counts.sum(0))
        first = float(np.median(self.firsts)) if self.firsts else None
        values = {"changed": changed, "tokens": tokens, "texts": len(self.counts), "changed_texts": len(self.firsts)}
        return Fact.of("quantize.changed_tokens", **values, first=first)


def float_texts(source: Path, context: Context) -> list[Text]:
    """Texts that the float network writes after the first prompts of validation.

    Args:
        source: Float file with the layout of a decoder.
        context: Validation split, and the tokenizer with the token that ends a text.
    """
    end = end_token(context)
    with open_writer(source) as writer:
        prompts = request_prompts(context.data.validation, PROMPTS, writer.context if writer.is_apart else writer.context - 1)
        return [(prompt, _greedy(writer, prompt, end)) for prompt in prompts]


def _greedy(writer: Writer, prompt: list[int], end: int | None) -> list[int]:
    """Tokens up to the one that ends the text, which is not among them."""
    room = min(TOKENS, writer.context if writer.is_apart else writer.context - len(prompt) + 1)
    tokens, logits = list[int](), writer.begin(prompt, room)
    while len(tokens) < room and (token := int(logits[-1].argmax())) != end:
        tokens.append(token)
        if len(tokens) < room:
            logits = writer.read([token])
    return tokens


def count_changes(quantized: Path, texts: Sequence[Text]) -> TokenChanges:
    """Changed tokens of a quantized file.

    Args:
        quantized: The file, with the layout of a decoder.
        texts: Of the float network.
    """
    counts, firsts = [], []
    with open_writer(quantized) as writer:
        for prompt, tokens in texts:
            if not tokens:
                continue
            first = writer.begin(prompt, max(1, len(tokens) - 1))[-1]
            logits = [first, *(writer.read([token])[-1] for token in tokens[:-1])]
            changed = [int(each.argmax()) != token for each, token in zip(logits, tokens, strict=True)]
            counts.append((sum(changed), len(tokens)))
            firsts += [changed.index(True)] if any(changed) else []
    return TokenChanges(np.array(counts, np.float64).reshape(-1, 2), tuple(firsts))
