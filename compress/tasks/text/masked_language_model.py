"""Masked language model: the tokens of a text that are hidden."""

from __future__ import annotations

from typing import ClassVar

from compress.core.record import Metric
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import TaskMetric
from compress.tasks.text.infer_codes import FILL_MASKS
from compress.tasks.text.token_metrics import Perplexity, PredictedAccuracy
from compress.tasks.text.token_prediction import TokenPrediction

MASKED_ACCURACY = Metric(name="masked_accuracy", label="accuracy of masked tokens", unit="fraction", higher_is_better=True)


class MaskedLanguageModel(TokenPrediction):
    """The token at each masked place; see `TokenPrediction` for outputs and targets.

    Attributes:
        name: `masked_language_model`.
        metrics: The deciding metric is `perplexity`; lower is better.
        infer_code: Prints the likeliest tokens for masked ones.
    """

    name: ClassVar[str] = "masked_language_model"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (Perplexity(), PredictedAccuracy(MASKED_ACCURACY))
    infer_code: ClassVar[InferCode] = FILL_MASKS
