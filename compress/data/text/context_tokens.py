"""Tokens of what stands before a prompt, and of prompts themselves.

    [own]   x_1 … x_T        as the data have it
    [given] x_1 … x_T        with a system message and examples

A prompt in a context has the same tokens, so that answers of both are comparable token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.batch import Split
from compress.data.text.cells import ChatMessage
from compress.data.text.chat_template import ASSISTANT, USER, ChatTemplate
from compress.data.text.origin import TextOrigin
from compress.data.text.prompt_context import PromptContext
from compress.data.text.responses import EXAMPLE_PROMPT, leading_tokens
from compress.data.text.settings import DECODER_IDS
from compress.data.text.tokenizer import TextTokenizer

Ints = NDArray[np.int64]
SYSTEM = "system"
"""Role of the system message."""


class ContextTokens(NamedTuple):
    """Tokens before a prompt.

    Attributes:
        own: Without a context, (P,), such as that of the beginning of a text, and what a chat template puts before a prompt.
        given: With it, (Q,).
    """

    own: Ints
    given: Ints

    @property
    def shift(self) -> int:
        """Places that the prompt moves by."""
        return len(self.given) - len(self.own)


def context_tokens(context: PromptContext, tokenizer: TextTokenizer) -> ContextTokens:
    """Tokens before a prompt without and with a context.

    Args:
        context: System message and examples.
        tokenizer: With its chat template.

    Raises:
        DataError: The template refuses a role.
    """
    template = tokenizer.chat
    if template is None:
        parts = [] if context.system is None else [context.system]
        parts += [text for example in context.examples for text in (example.prompt, example.response)]
        texts = ["", "".join(f"{text}\n" for text in parts)]
    else:
        texts = [_before(template, PromptContext()), _before(template, context)]
    lead = leading_tokens(tokenizer)
    own, given = (_led(np.asarray(each.ids, np.int64), lead) for each in tokenizer.plain_encodings(texts))
    return ContextTokens(own, given)


def prompt_tokens(prompts: Sequence[str], tokenizer: TextTokenizer) -> list[Ints]:
    """Tokens of each prompt as in `response_split`, after which a response follows.

    Args:
        prompts: The prompts.
        tokenizer: With its chat template.
    """
    template = tokenizer.chat
    if template is None:
        texts = [prompt if prompt[-1:].isspace() else f"{prompt}\n" for prompt in prompts]
    else:
        texts = [template.render([ChatMessage(USER, prompt)], to_answer=True) for prompt in prompts]
    lead = leading_tokens(tokenizer)
    return [_led(np.asarray(each.ids, np.int64), lead) for each in tokenizer.plain_encodings(texts)]


def text_origin(split: Split, setting: str) -> TextOrigin:
    """Texts, tokenizer and settings that a split of prompts with responses was made of.

    Args:
        split: The split.
        setting: What needs them, for the message.

    Raises:
        DataError: They are not known, or the samples are no prompts with responses.
    """
    origin = getattr(split, "origin", None)
    if isinstance(origin, TextOrigin) and origin.settings.columns.has_responses:
        return origin
    msg = gettext(
        "{setting}: responses are written to prompts, and the data have none; name their columns: `data: "
        "{{columns: {{prompt: question, response: answer}}}}`",
        setting=setting,
    )
    raise DataError(msg)


def reads_apart(split: Split) -> bool:
    """Whether samples are those of encoder-decoders, which read prompts apart from responses."""
    return DECODER_IDS in getattr(split, "inputs", {})


def check_reads_prompts(split: Split, setting: str) -> None:
    """Refuse samples of encoder-decoders, which read no system message before a prompt.

    Args:
        split: Prompts with responses.
        setting: What needs a context, for the message.

    Raises:
        DataError: They are.
    """
    if reads_apart(split):
        msg = gettext(
            "{setting}: a system message and examples stand before a prompt of a causal language model, and this network reads "
            "prompts with an encoder; write them into the prompts of its data",
            setting=setting,
        )
        raise DataError(msg)


def _before(template: ChatTemplate, context: PromptContext) -> str:
    """The text before a prompt."""
    messages = [] if context.system is None else [ChatMessage(SYSTEM, context.system)]
    for example in context.examples:
        messages += [ChatMessage(USER, example.prompt), ChatMessage(ASSISTANT, example.response)]
    return template.render([*messages, ChatMessage(USER, EXAMPLE_PROMPT)], to_answer=True).rpartition(EXAMPLE_PROMPT)[0]


def _led(ids: Ints, lead: Ints) -> Ints:
    """Tokens with those that begin every text, which a template may spell out."""
    return ids if len(lead) == 0 or np.array_equal(ids[: len(lead)], lead) else np.concatenate([lead, ids])
