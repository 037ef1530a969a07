"""The task of speech: its loss against all paths, padding, rows for distillation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.data.audio.build import audio_spec
from compress.data.audio.settings import AudioSettings
from compress.data.batch import TARGET
from compress.tasks.audio.padded_frames import blank_padding
from compress.tasks.audio.speech_ctc import SpeechCtc
from compress.tasks.ctc_decoding import collapse

NAMES = ("<blank>", " ", "a", "b")


def over_paths(log_p: torch.Tensor, transcript: list[int]) -> float:
    """−log Σ p of all paths that give the transcript, each path by itself."""
    frames, classes = log_p.shape
    total = [
        float(sum(log_p[t, k] for t, k in enumerate(path)))
        for path in product(range(classes), repeat=frames)
        if collapse(np.array(path)).tolist() == transcript
    ]
    return -float(torch.tensor(total, dtype=torch.float64).logsumexp(0))


def test_the_loss_is_that_of_all_paths_and_clips_without_a_transcript_do_not_count() -> None:
    z = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[2, 3, -100], [2, 2, -2], [-1, -100, -100]])
    log_p = z.double().log_softmax(2)
    expected = (over_paths(log_p[0], [2, 3]) / 2 + over_paths(log_p[1], [2, 2]) / 2) / 2
    assert float(SpeechCtc().loss({LOGITS: z}, {TARGET: y})) == pytest.approx(expected, rel=1e-5)
    assert float(SpeechCtc().loss({LOGITS: z}, {TARGET: torch.full_like(y, -1)})) == 0


def test_padding_changes_neither_loss_nor_text_nor_rows() -> None:
    task = SpeechCtc().for_spec(SpeechCtc().complete_spec(audio_spec(AudioSettings(), NAMES)))
    z, y = torch.randn(2, 6, 4), torch.tensor([[2, 3], [3, -100]])
    longer = torch.cat([z, torch.randn(2, 5, 4)], dim=1)
    padded = blank_padding(longer, (torch.arange(11) < 6).float().expand(2, 11))
    alone, together = {LOGITS: z}, {LOGITS: padded}
    torch.testing.assert_close(task.loss(alone, {TARGET: y}), task.loss(together, {TARGET: y}))
    for name, scores in task.scores(alone, {TARGET: y}, task.metrics).items():
        assert torch.equal(scores, task.scores(together, {TARGET: y}, task.metrics)[name])
    rows = task.distillable(together, {TARGET: y})
    assert torch.equal(rows.logits, z.flatten(0, 1))
    assert rows.samples is not None
    assert rows.samples.tolist() == [0] * 6 + [1] * 6
    assert task.agreement(together, {LOGITS: padded + 1e-3}).scale < 100


def test_a_transcript_that_needs_more_frames_has_no_path() -> None:
    z = torch.randn(2, 2, 4, requires_grad=True)
    loss = SpeechCtc().loss({LOGITS: z}, {TARGET: torch.tensor([[2, 2, 2], [2, -100, -100]])})
    loss.backward()
    assert bool(z.grad.isfinite().all())


def test_smoothing_adds_the_mean_over_frames_and_classes() -> None:
    z, y = torch.randn(1, 5, 4), torch.tensor([[2, 3]])
    plain, smooth = (SpeechCtc().loss({LOGITS: z}, {TARGET: y}, label_smoothing=each) for each in (0.0, 0.1))
    torch.testing.assert_close(smooth, 0.9 * plain - 0.1 * z.log_softmax(2).mean())


def test_other_data_are_refused() -> None:
    with pytest.raises(DataError, match="needs clips with transcripts"):
        SpeechCtc().complete_spec(audio_spec(AudioSettings(), ("cat", "dog")))


def test_beam_search_decodes_in_metrics_and_in_the_script() -> None:
    task = SpeechCtc(decoding="beam")
    assert task.key == {"speech_ctc": {"decoding": "beam"}}
    bound = task.for_spec(task.complete_spec(audio_spec(AudioSettings(), NAMES)))
    p = torch.tensor([[0.4, 0.0, 0.35, 0.25], [0.4, 0.0, 0.35, 0.25]]).clamp_min(1e-6)  # greedy: nothing; all paths: a
    outputs, targets = {LOGITS: p.log()[None]}, {TARGET: torch.tensor([[2]])}
    assert bound.metrics[0].scores(outputs, targets).tolist() == [[0, 1]]
    greedy = SpeechCtc().for_spec(task.complete_spec(audio_spec(AudioSettings(), NAMES)))
    assert greedy.metrics[0].scores(outputs, targets).tolist() == [[1, 1]]
    namespace: dict[str, object] = {"np": np, "json": None, "sys": None, "HERE": None, "__name__": "script"}
    exec("from __future__ import annotations\n" + task.infer_code.source, namespace)  # noqa: S102
    assert namespace["beam_classes"](p.log().numpy(), 8).tolist() == [2]
