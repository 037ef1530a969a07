"""Causal language model: the next token of a text from those before it."""

from __future__ import annotations

from typing import ClassVar

from compress.core.record import Metric
from compress.tasks.capability import Capability
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import TaskMetric
from compress.tasks.text.infer_continue import CONTINUE
from compress.tasks.text.token_metrics import BitsPerByte, Perplexity, PredictedAccuracy
from compress.tasks.text.token_prediction import TokenPrediction

NEXT_TOKEN = Metric(name="next_token_accuracy", label="accuracy of next tokens", unit="fraction", higher_is_better=True)


class CausalLanguageModel(TokenPrediction):
    """The next token at each place, p(x_{t+1} | x_1 … x_t); see `TokenPrediction` for outputs and targets.

    The target at place t is the token at place t + 1 of the text. A sample is a block of tokens, or a prompt with its
    response, whose tokens alone are predicted; intervals are those of a bootstrap over samples.

    Attributes:
        name: `causal_language_model`.
        capabilities: As those of `TokenPrediction`; and texts can be continued.
        metrics: The deciding metric is `perplexity`; lower is better.
        infer_code: Continues a text with the likeliest tokens.
    """

    name: ClassVar[str] = "causal_language_model"
    capabilities: ClassVar[frozenset[Capability]] = TokenPrediction.capabilities | {"writes_text"}
    metrics: ClassVar[tuple[TaskMetric, ...]] = (Perplexity(), BitsPerByte(), PredictedAccuracy(NEXT_TOKEN))
    infer_code: ClassVar[InferCode] = CONTINUE
