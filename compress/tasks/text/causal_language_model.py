"""Causal language model: the next token of a text from those before it."""

from __future__ import annotations

from typing import ClassVar

from compress.tasks.infer_code import InferCode
from compress.tasks.text.infer_continue import CONTINUE
from compress.tasks.text.text_writing_task import TextWritingTask


class CausalLanguageModel(TextWritingTask):
    """The next token at each place, p(x_{t+1} | x_1 … x_t); see `TextWritingTask` for metrics and options.

    The target at place t is the token at place t + 1 of the text. A sample is a block of tokens, or a prompt with its
    response, whose tokens alone are predicted; intervals are those of a bootstrap over samples.

    Attributes:
        name: `causal_language_model`.
        infer_code: Continues a text with the likeliest tokens.
    """

    name: ClassVar[str] = "causal_language_model"
    infer_code: ClassVar[InferCode] = CONTINUE
