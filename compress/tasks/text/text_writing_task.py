"""What tasks of networks that write texts have in common: metrics of tokens, and options of written texts."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from compress.core.frozen_model import FrozenModel
from compress.core.record import Metric
from compress.tasks.capability import Capability
from compress.tasks.metric import TaskMetric
from compress.tasks.text.generated_text import GeneratedText
from compress.tasks.text.token_metrics import BitsPerByte, Perplexity, PredictedAccuracy
from compress.tasks.text.token_prediction import TokenPrediction

NEXT_TOKEN = Metric(name="next_token_accuracy", label="accuracy of next tokens", unit="fraction", higher_is_better=True)


class TextWritingOptions(FrozenModel):
    """Options of tasks of networks that write texts.

    Attributes:
        generated: Texts that the network writes to validation prompts after each stage, for exact match, ROUGE-L, BLEU and the
            agreement with the parent, such as `{prompts: 128, max_new_tokens: 64}`; the data must be prompts with responses.
            Of answers and captions on images the metrics are the character error rate, BLEU and CIDEr-D. None writes no texts.
    """

    generated: GeneratedText | None = None


class TextWritingTask(TokenPrediction):
    """A task of networks that write texts; see `TokenPrediction` for outputs and targets.

    Attributes:
        capabilities: As those of `TokenPrediction`; and texts can be written.
        metrics: The deciding metric is `perplexity`; lower is better.
        settings: `generated`.

    Args:
        generated: Texts that the network writes for metrics of written texts; None for none.
    """

    capabilities: ClassVar[frozenset[Capability]] = TokenPrediction.capabilities | {"writes_text", "takes_prompts"}
    metrics: ClassVar[tuple[TaskMetric, ...]] = (Perplexity(), BitsPerByte(), PredictedAccuracy(NEXT_TOKEN))
    settings: ClassVar[type[BaseModel]] = TextWritingOptions

    def __init__(self, *, generated: GeneratedText | None = None) -> None:
        self.generated = generated
