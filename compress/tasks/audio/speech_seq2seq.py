"""Speech recognition by a network that hears a clip and writes its text token by token, such as Whisper (arXiv:2212.04356).

torch is imported only for computations.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.preprocessing import WrittenTokens
from compress.core.record import Metric
from compress.core.signature import BATCH, RESPONSE, TensorSpec
from compress.data.batch import TARGET, Batch, Tensors
from compress.data.text.settings import DECODER_IDS
from compress.tasks.audio.infer_written import WRITE_SPEECH
from compress.tasks.audio.normalise_text import TextForm, normaliser
from compress.tasks.audio.transcript_metrics import CER, WER
from compress.tasks.audio.written_pieces import text_of_pieces
from compress.tasks.edit_distance import edit_distance
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import RatioOfSums, Scores, TaskMetric
from compress.tasks.text.token_metrics import Perplexity
from compress.tasks.text.token_prediction import TokenPrediction

if TYPE_CHECKING:
    from torch import Tensor

WRITTEN = "written"
"""Entry of the outputs with the tokens that the network writes, int64 (N, T), the end after each text."""
STEP = 8
"""Tokens by which texts without an end grow."""


class WrittenOptions(FrozenModel):
    """Options of the task `speech_seq2seq`.

    Attributes:
        normalise: Form in which texts are compared: `none`, `basic` (lower case, no punctuation) or `english` (also numbers).
    """

    normalise: TextForm = "basic"


class WrittenErrors(RatioOfSums):
    """WER or CER of the texts that a network writes; see `transcript_metrics` for the formula.

    Args:
        info: `WER` or `CER`.
        pieces: Piece of each token; None until the data are known.
        form: See `WrittenOptions`.
    """

    def __init__(self, info: Metric, pieces: Sequence[str] | None = None, form: TextForm = "basic") -> None:
        super().__init__(info)
        self.pieces, self.form = pieces, form

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Errors and elements of the transcript of each clip, float32 (N, 2); both 0 for a clip without a transcript.

        Raises:
            DataError: The pieces are not known.
        """
        import torch

        if self.pieces is None:
            msg = gettext("error rates need the names of the tokens; use the task that task.for_spec(data.spec) returns")
            raise DataError(msg)
        change = normaliser(self.form)
        rows = []
        for tokens, target in zip(outputs[WRITTEN].tolist(), targets[TARGET].tolist(), strict=True):
            known = [each for each in target if each >= 0]
            text, reference = (change(text_of_pieces([self.pieces[each] for each in ids])) for ids in (tokens, known))
            first, second = (text.split(), reference.split()) if self.info is WER else (text, reference)
            rows.append((edit_distance(first, second), len(second)) if known else (0, 0))
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, 2)


class SpeechSeq2Seq(TokenPrediction):
    """What is said in a clip, p(y_t | clip, y_1 … y_{t−1}); inputs are the clip and the tokens so far.

    Outputs are logits (N, T, V), targets the next tokens (N, T), `UNLABELLED` for the prefix and after the end.

    Args:
        normalise: See `WrittenOptions`.

    Attributes:
        name: `speech_seq2seq`.
        metrics: The word error rate of the likeliest tokens decides; `perplexity` is that of the transcripts.
        infer_code: Prints the text of an audio file.
    """

    name: ClassVar[str] = "speech_seq2seq"
    settings: ClassVar[type[BaseModel]] = WrittenOptions
    metrics: ClassVar[tuple[TaskMetric, ...]] = (WrittenErrors(WER), WrittenErrors(CER), Perplexity())
    infer_code: ClassVar[InferCode] = WRITE_SPEECH
    tokens: WrittenTokens | None = None
    """Tokens around each text; None until the data are known."""

    def __init__(self, normalise: TextForm = "basic") -> None:
        self.normalise = normalise

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Logits, (batch, response, V)."""
        read = next((each for each in inputs if each.name == DECODER_IDS), None)
        return (TensorSpec(name=LOGITS, shape=(BATCH, RESPONSE if read is None else read.shape[1], len(classes))),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Token at each place of the text, (batch, response)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH, RESPONSE)),)

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the data are clips with transcripts in tokens.

        Raises:
            DataError: They are not.
        """
        if spec.audio is None or spec.audio.written is None:
            msg = gettext(
                "task {name} needs clips with transcripts in tokens; use a source such as audio_manifest:PATH, and an "
                "hf: network",
                name=self.name,
            )
            raise DataError(msg)

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the pieces of the tokens."""
        self.check_spec(spec)
        bound = copy.copy(self)
        bound.vocabulary = len(spec.classes)
        bound.tokens = spec.audio.written if spec.audio is not None else None
        errors = (WrittenErrors(info, spec.classes, self.normalise) for info in (WER, CER))
        bound.metrics = (*errors, Perplexity())  # type: ignore[misc]
        return bound

    def run_batch(self, run: Callable[[Batch], Tensors], batch: Batch) -> Tensors:
        """Logits of the transcripts, and the tokens that the network writes by itself.

        The likeliest tokens are found without a cache, so by any runtime: all places of a guess are computed at once, each gets
        the likeliest token, and this is repeated until nothing changes. Then each token is the likeliest one after those before
        it, as if they were written one by one. The first guess are the transcripts, so a pass is needed for each error, not for
        each token; Song et al. 2021, arXiv:2002.03629, Jacobi decoding.
        """
        first = run(batch)
        assert self.tokens is not None  # noqa: S101  # the task is bound to its data
        return {**first, WRITTEN: _written(run, batch, first[LOGITS], self.tokens)}

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The WER of no text for any clip, 1."""
        return 1.0


def _written(run: Callable[[Batch], Tensors], batch: Batch, logits: Tensor, tokens: WrittenTokens) -> Tensor:
    """The likeliest tokens of each clip, the end after each text, int64 (N, T).

    Args:
        run: Runs the network.
        batch: Clips, with the first guess as the tokens so far.
        logits: Of the first guess, (N, L, V).
        tokens: Around each text.
    """
    import torch

    given = len(tokens.prefix)
    texts = torch.full((batch.size, tokens.most), tokens.end)
    rows, guess = torch.arange(batch.size), batch.inputs[DECODER_IDS].cpu()
    while len(rows):
        best = logits.cpu().float().nan_to_num(0.0).argmax(dim=2)
        found = torch.cat([guess[:, :given], best[:, given - 1 :]], dim=1)
        after = _after_end(found, given, tokens.end)
        same = ((found[:, :-1] == guess) | after[:, :-1]).all(dim=1)
        ended = (found[:, given:] == tokens.end).any(dim=1)
        done = same & (ended | (found.shape[1] >= tokens.most))
        length = min(found.shape[1], tokens.most)
        texts[rows[done], :length] = found.masked_fill(after, tokens.end)[done, :length]
        rows, found, ended = rows[~done], found[~done], ended[~done]
        if not len(rows):
            break
        grows = 0 if bool(ended.all()) else min(STEP, tokens.most - found.shape[1])
        guess = torch.cat([found, found[:, -1:].expand(-1, max(grows, 0))], dim=1)[:, : tokens.most - 1]
        inputs = {name: values[rows.to(values.device)] for name, values in batch.inputs.items()}
        inputs[DECODER_IDS] = guess.to(batch.inputs[DECODER_IDS].device)
        logits = run(batch._replace(inputs=inputs))[LOGITS]
    return texts[:, given:]


def _after_end(tokens: Tensor, given: int, end: int) -> Tensor:
    """Which tokens are after the first end that is no part of the prefix, bool (N, T)."""
    ends = (tokens == end).long()
    ends[:, :given] = 0
    return (ends.cumsum(dim=1) - ends) > 0
