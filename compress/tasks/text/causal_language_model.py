"""Causal language model: the next token of a text from those before it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from compress.core.frozen_model import FrozenModel
from compress.core.record import Metric
from compress.tasks.capability import Capability
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import TaskMetric
from compress.tasks.text.generated_text import GeneratedText
from compress.tasks.text.infer_continue import CONTINUE
from compress.tasks.text.token_metrics import BitsPerByte, Perplexity, PredictedAccuracy
from compress.tasks.text.token_prediction import TokenPrediction

NEXT_TOKEN = Metric(name="next_token_accuracy", label="accuracy of next tokens", unit="fraction", higher_is_better=True)


class CausalLanguageModelOptions(FrozenModel):
    """Options of the task `causal_language_model`.

    Attributes:
        generated: Texts that the network writes to validation prompts after each stage, for exact match, ROUGE-L, BLEU and the
            agreement with the parent, such as `{prompts: 128, max_new_tokens: 64}`; the data must be prompts with responses.
            None writes no texts.
    """

    generated: GeneratedText | None = None


class CausalLanguageModel(TokenPrediction):
    """The next token at each place, p(x_{t+1} | x_1 … x_t); see `TokenPrediction` for outputs and targets.

    The target at place t is the token at place t + 1 of the text. A sample is a block of tokens, or a prompt with its
    response, whose tokens alone are predicted; intervals are those of a bootstrap over samples.

    Attributes:
        name: `causal_language_model`.
        capabilities: As those of `TokenPrediction`; and texts can be continued.
        metrics: The deciding metric is `perplexity`; lower is better.
        settings: `generated`.
        infer_code: Continues a text with the likeliest tokens.

    Args:
        generated: Texts that the network writes for metrics of written texts; None for none.
    """

    name: ClassVar[str] = "causal_language_model"
    capabilities: ClassVar[frozenset[Capability]] = TokenPrediction.capabilities | {"writes_text"}
    metrics: ClassVar[tuple[TaskMetric, ...]] = (Perplexity(), BitsPerByte(), PredictedAccuracy(NEXT_TOKEN))
    settings: ClassVar[type[BaseModel]] = CausalLanguageModelOptions
    infer_code: ClassVar[InferCode] = CONTINUE

    def __init__(self, *, generated: GeneratedText | None = None) -> None:
        self.generated = generated
