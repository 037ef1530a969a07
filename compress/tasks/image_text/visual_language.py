"""Answers to questions on images, token by token. torch is imported on use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import TensorSpec
from compress.data.batch import Tensors
from compress.tasks.capability import Capability
from compress.tasks.image_text.infer_code import ANSWER
from compress.tasks.image_text.line_reading import EXACT_MATCH
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import MeanOfScores, Scores, TaskMetric
from compress.tasks.text.generated_text import GeneratedText
from compress.tasks.text.text_writing_task import NEXT_TOKEN, TextWritingOptions
from compress.tasks.text.token_metrics import BitsPerByte, Perplexity, PredictedAccuracy
from compress.tasks.text.token_prediction import TokenPrediction

if TYPE_CHECKING:
    from torch import Tensor


class ExactAnswer(MeanOfScores):
    """Fraction of the answers that greedy decoding writes token for token, with their end.

    Each token of the answer has the largest logit after those before it if and only if greedy decoding writes the answer, so
    that one pass with the true answer decides it.
    """

    def __init__(self) -> None:
        super().__init__(EXACT_MATCH)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """1 for an answer without a wrong token, else 0, float32 (N,)."""
        right, total = PredictedAccuracy(NEXT_TOKEN).scores(outputs, targets).unbind(dim=1)
        return (right == total).float()


class VisualLanguageTask(TokenPrediction):
    """The answer to a question on an image, p(y_t | image, question, y_1 … y_{t−1}); loss and metrics are of answers alone.

    Inputs are the image, float32 (N, C, H, W), and question and answer as tokens, int64 (N, L), with their mask; outputs are
    logits (N, L, V), targets the next tokens (N, L). A caption is the answer to a fixed request to describe the image.

    Attributes:
        name: `visual_language`.
        metrics: The deciding metric is `exact_match`.
        capabilities: A sample is a prompt with a response, and has a row for each token of the answer.
        infer_code: Answers a question on an image.
        settings: `generated`.

    Args:
        generated: Answers to validation questions that the network writes after each stage, for the character error rate, BLEU
            and CIDEr-D; None for none.
    """

    name: ClassVar[str] = "visual_language"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("class_rows", "fixed_rows", "takes_prompts", "visual_tokens"))
    metrics: ClassVar[tuple[TaskMetric, ...]] = (ExactAnswer(), Perplexity(), BitsPerByte(), PredictedAccuracy(NEXT_TOKEN))
    infer_code: ClassVar[InferCode] = ANSWER
    settings: ClassVar[type[BaseModel]] = TextWritingOptions

    def __init__(self, *, generated: GeneratedText | None = None) -> None:
        self.generated = generated

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Logits, (batch, sequence, V); V is that of the tokens of the input."""
        return super().outputs([each for each in inputs if not each.is_continuous], classes)

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that a sample is an image and a text that is answered.

        Raises:
            DataError: It is not.
        """
        if spec.image_text is None or not spec.image_text.writes:
            msg = gettext(
                "task visual_language takes images with questions and answers, or with captions; these data give {inputs}: use "
                "drawn_questions, image_questions:PATH or image_captions:PATH",
                inputs=", ".join(map(str, spec.signature.inputs)),
            )
            raise DataError(msg)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """None: what guesses reach depends on the questions."""
        return None
