"""Word error rate and character error rate of transcripts, as ratios of sums over the clips.

    WER = Σ_n d(words of the text, words of the transcript) / Σ_n words of the transcript

with the edit distance d; CER is the same of characters. Both can be above 1. The interval is the bootstrap by clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.data.batch import TARGET, Tensors
from compress.data.characters import UNKNOWN, UNTOLD
from compress.tasks.ctc_beam import beam_classes
from compress.tasks.ctc_decoding import greedy_texts, text_of
from compress.tasks.edit_distance import edit_distance
from compress.tasks.metric import RatioOfSums

if TYPE_CHECKING:
    from torch import Tensor

WER = Metric(name="wer", label="word error rate", unit="fraction", higher_is_better=False)
CER = Metric(name="cer", label="character error rate", unit="fraction", higher_is_better=False)
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for a character of a transcript that the network cannot write."""


class TranscriptErrors(RatioOfSums):
    """WER or CER of the texts of a network with CTC outputs.

    Args:
        info: `WER` or `CER`.
        names: Names of the classes; None until the data are known.
        beam: Number of prefixes of the beam search; None for the likeliest path.
    """

    def __init__(self, info: Metric, names: Sequence[str] | None = None, beam: int | None = None) -> None:
        super().__init__(info)
        self._names, self.beam = names, beam

    @property
    def names(self) -> Sequence[str]:
        """Names of the classes.

        Raises:
            DataError: They are not known.
        """
        if self._names is None:
            msg = gettext("error rates need the names of the characters; use the task that task.for_spec(data.spec) returns")
            raise DataError(msg)
        return self._names

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Errors and elements of the transcript of each clip, float32 (N, 2); both 0 for a clip without a transcript."""
        import torch

        z = outputs[LOGITS].detach().float().cpu()
        if self.beam is None:
            texts = greedy_texts(z.numpy(), self.names)
        else:
            log_p = z.nan_to_num(0.0).log_softmax(dim=2).numpy()
            texts = [text_of(beam_classes(each, self.beam), self.names) for each in log_p]
        rows = [self._errors(text, row) for text, row in zip(texts, targets[TARGET].cpu().numpy(), strict=True)]
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, 2)

    def _errors(self, text: str, target: np.ndarray) -> tuple[int, int]:
        if len(target) and target[0] == UNTOLD:
            return 0, 0
        reference = transcript_of(target, self.names)
        first, second = (text.split(), reference.split()) if self.info is WER else (text, reference)
        return edit_distance(first, second), len(second)


def transcript_of(target: np.ndarray, names: Sequence[str]) -> str:
    """The transcript of a target, with `REPLACEMENT` for characters that are no class."""
    return "".join(REPLACEMENT if each == UNKNOWN else names[each] for each in target.tolist() if each > 0 or each == UNKNOWN)
