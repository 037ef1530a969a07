"""The task of voice activity: loss, rows for distillation, threshold, and the spans that its scripts print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.data.audio.build import audio_spec
from compress.data.audio.settings import AudioSettings
from compress.data.audio.speech_times import SPEECH_CLASSES
from compress.data.batch import TARGET
from compress.tasks.audio.padded_frames import blank_padding
from compress.tasks.audio.voice_activity import VoiceActivity

SPEC = audio_spec(AudioSettings(rate=8000, targets="speech"), SPEECH_CLASSES)


def bound() -> VoiceActivity:
    return VoiceActivity().for_spec(VoiceActivity().complete_spec(SPEC))


def test_the_loss_is_the_cross_entropy_of_frames_with_a_class() -> None:
    z, y = torch.randn(2, 5, 2), torch.tensor([[0, 1, 1, 0, 1], [1, 0, -100, -100, -100]])
    expected = F.cross_entropy(torch.cat([z[0], z[1, :2]]), torch.tensor([0, 1, 1, 0, 1, 1, 0]))
    assert float(bound().loss({LOGITS: z}, {TARGET: y})) == pytest.approx(float(expected), rel=1e-6)
    assert float(bound().loss({LOGITS: z}, {TARGET: torch.full_like(y, -100)})) == 0


def test_rows_are_frames_of_clips_and_frames_without_a_class_have_none() -> None:
    y = torch.tensor([[0, 1, 1, 0], [-100, 1, -100, -100]])
    z = blank_padding(torch.randn(2, 4, 2), (torch.arange(4) < torch.tensor([[4], [2]])).float())
    rows = bound().distillable({LOGITS: z}, {TARGET: y})
    assert rows.targets.tolist() == [0, 1, 1, 0, -1, 1]
    assert rows.samples is not None
    assert rows.samples.tolist() == [0, 0, 0, 0, 1, 1]
    assert torch.equal(rows.logits, torch.cat([z[0], z[1, :2]]))


def test_the_length_of_a_frame_is_that_of_the_data_and_other_data_are_refused() -> None:
    task = bound()
    assert task.metric == "roc_auc"
    assert task.frame_seconds == 0.02
    assert task.chance_level((), {}) == 0.5
    with pytest.raises(DataError, match="needs clips with the times of speech"):
        VoiceActivity().complete_spec(audio_spec(AudioSettings(), SPEECH_CLASSES))


def test_both_scripts_print_the_spans_above_the_threshold(tmp_path: Path) -> None:
    task = bound()
    generator = np.random.default_rng(1)
    y = np.repeat(generator.integers(0, 2, (1, 20)), 10, axis=1)
    score = (3.0 * y - 1.5 + generator.normal(0, 0.5, y.shape)).astype(np.float32)
    z = np.stack([np.zeros_like(score), score], axis=2)
    rows = task.metrics[0].scores({LOGITS: torch.from_numpy(z)}, {TARGET: torch.from_numpy(y)}).numpy()
    point = task.operating_point(rows, SPEECH_CLASSES)
    (tmp_path / "threshold.json").write_text(json.dumps(point), encoding="utf-8")
    names: dict[str, object] = {"np": np, "json": json, "sys": None, "HERE": tmp_path, "__name__": "script"}
    names |= {"preprocess": lambda path: path, "run": lambda _: {"logits": z}}
    assert task.stream_code is not None
    for code in (task.infer_code, task.stream_code):
        exec("from __future__ import annotations\n" + code.source, names)  # noqa: S102
    spans = names["find_speech"]("a.wav")  # type: ignore[operator]
    printed = "".join(f"{start:.2f} {end:.2f}\n" for start, end in spans)
    teller = names["Teller"]()  # type: ignore[operator]
    told = "".join(teller.tell(chunk) for chunk in np.array_split(z[0], 7)) + teller.end()
    assert told == printed
    assert len(spans) > 3
    inside = np.zeros(200, np.int64)
    for start, end in spans:
        inside[round(start / 0.02) : round(end / 0.02)] = 1
    assert (inside == (score[0] >= point["threshold"])).all()
