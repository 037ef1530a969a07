"""WER and CER as ratios of sums over clips."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.data.batch import TARGET
from compress.tasks.audio.transcript_metrics import CER, WER, TranscriptErrors
from compress.tasks.metric_quantity import estimate

NAMES = ("<blank>", " ", "a", "b")


def written(*texts: str) -> torch.Tensor:
    """Logits whose likeliest path writes these texts, with a blank after each character."""
    rows = [[each for character in text for each in (NAMES.index(character), 0)] for text in texts]
    longest = max(map(len, rows))
    paths = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return torch.nn.functional.one_hot(paths, len(NAMES)).float()


def target(*rows: list[int]) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [-100] * (longest - len(row)) for row in rows])


def test_rates_are_errors_by_elements_of_the_transcripts() -> None:
    outputs = {LOGITS: written("ab ab", "aab", "b")}
    targets = {TARGET: target([2, 3, 1, 2, 3], [2, 2], [3, 1, 3])}
    wer, cer = (TranscriptErrors(info, NAMES) for info in (WER, CER))
    assert wer.scores(outputs, targets).tolist() == [[0, 2], [1, 1], [1, 2]]
    assert cer.scores(outputs, targets).tolist() == [[0, 5], [1, 2], [2, 3]]
    assert wer.value(wer.scores(outputs, targets).numpy()) == pytest.approx(2 / 5)
    assert cer.value(cer.scores(outputs, targets).numpy()) == pytest.approx(3 / 10)


def test_a_clip_without_a_transcript_does_not_count_and_an_unknown_character_is_an_error() -> None:
    outputs = {LOGITS: written("ab", "ab", "")}
    targets = {TARGET: target([-1], [2, -2], [])}
    assert TranscriptErrors(CER, NAMES).scores(outputs, targets).tolist() == [[0, 0], [1, 2], [0, 0]]


def test_the_interval_is_the_bootstrap_by_clips() -> None:
    texts = ["ab ab"] * 30 + ["b"] * 10
    scores = TranscriptErrors(WER, NAMES).scores({LOGITS: written(*texts)}, {TARGET: target(*[[2, 3, 1, 2, 3]] * 40)})
    quantity = estimate(TranscriptErrors(WER, NAMES), scores.numpy(), "test")
    assert quantity.value == pytest.approx(0.25)
    assert quantity.method == "bootstrap"
    assert quantity.low < 0.25 < quantity.high


def test_names_must_be_known() -> None:
    with pytest.raises(DataError, match="for_spec"):
        TranscriptErrors(WER).scores({LOGITS: written("a")}, {TARGET: target([2])})
