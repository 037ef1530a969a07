"""The encoder of Whisper for CTC: its features and states are those of transformers; padding; data that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import transformers

from compress.core.errors import ModelError
from compress.data.audio.build import audio_spec
from compress.data.audio.clips import padded_waves
from compress.data.audio.settings import AudioSettings
from compress.models.audio.whisper_ctc import WhisperCtc
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.audio.padded_frames import is_padding
from compress.tasks.audio.speech_ctc import SpeechCtc

NAMES = ("<blank>", " ", "a", "b")
TASK = SpeechCtc()
SIZES: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 80, "max_source_positions": 100, "vocab_size": 20,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip


def network(rate: int = 16_000, most: float = 2.0, source: str = "hf:whisper", base: Path = Path(), **args: Any) -> WhisperCtc:
    spec = TASK.complete_spec(audio_spec(AudioSettings(rate=rate, typical=0.5, most=most), NAMES))
    module = build_model(ModelSettings(source=source, args=args), spec, seed=0, base=base, task=TASK).module
    assert isinstance(module, WhisperCtc)
    return module.eval()


def test_states_are_those_of_transformers_on_clips_of_the_full_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**SIZES)).eval()
    whole.save_pretrained(tmp_path / "net")
    module = network(source="hf:net", base=tmp_path)
    wave = torch.randn(1, 32_000) / 10
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    expected = extractor(wave[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        # the extractor mirrors the end of a clip that fills its window; the last two of its 200 windows reach there
        torch.testing.assert_close(module.features(wave)[..., :-2], expected[..., :-2], atol=1e-3, rtol=1e-3)
        found, frames = module.states(wave, torch.ones(1, 32_000, dtype=torch.int64))
        theirs = whole.model.encoder(module.features(wave), output_hidden_states=True)
    assert frames.shape == (1, 100)
    torch.testing.assert_close(found[-1], theirs.last_hidden_state, atol=1e-4, rtol=1e-4)


def test_a_clip_has_the_same_answer_alone_and_in_a_batch() -> None:
    module = network(config={"model_type": "whisper", **SIZES})
    waves = [torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in (3300, 6123, 9000)]
    with torch.no_grad():
        together = module(**padded_waves(waves))
        for index, wave in enumerate(waves):
            alone = module(wave[None], torch.ones(1, len(wave), dtype=torch.int64))
            frames = len(wave) // 320
            assert alone.shape == (1, frames, len(NAMES))
            torch.testing.assert_close(together[index, :frames], alone[0], atol=1e-4, rtol=1e-3)
            assert is_padding(together)[index, frames:].all()


def test_audio_of_8_khz_has_the_features_of_the_audio_resampled() -> None:
    time = np.arange(8000) / 16_000
    pitches = np.array([300, 1000, 2500])
    wave = (np.sin(2 * np.pi * pitches[:, None] * time).sum(0) / 5).astype(np.float32)
    low, high = (network(rate, config={"model_type": "whisper", **SIZES}).features for rate in (8000, 16_000))
    ours, theirs = low(torch.from_numpy(wave[None, ::2].copy())), high(torch.from_numpy(wave[None]))
    torch.testing.assert_close(ours[:, :50, 2:-2], theirs[:, :50, 2:-2], atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("rate", "most", "message"),
    [(44_100, 2.0, "takes audio of 8000 or 16000 samples per second, the data have 44100"), (8000, 3.0, "at most 2 s, .* 3 s")],
)
def test_what_does_not_fit_is_told(rate: int, most: float, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        network(rate, most, config={"model_type": "whisper", **SIZES})
