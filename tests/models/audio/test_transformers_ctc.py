"""wav2vec 2.0, HuBERT and WavLM for CTC: frames, padding, characters, and folders that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

import transformers

from compress.core.errors import ModelError
from compress.data.audio.build import audio_spec
from compress.data.audio.clips import padded_waves
from compress.data.audio.settings import AudioSettings
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.audio.padded_frames import is_padding
from compress.tasks.audio.speech_ctc import SpeechCtc

NAMES = ("<blank>", " ", "a", "b")
TASK = SpeechCtc()
SPEC = TASK.complete_spec(audio_spec(AudioSettings(rate=8000, typical=0.5, most=2.0), NAMES))


def tiny(kind: str, **entries: Any) -> dict[str, Any]:
    """A configuration whose frames are 160 samples."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    convolutions = {"conv_dim": [8, 8, 8], "conv_kernel": [10, 4, 2], "conv_stride": [8, 5, 4], "num_feat_extract_layers": 3}
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    norm = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    return {"model_type": kind, **sizes, **convolutions, **positions, **norm, **entries}


def fresh(kind: str) -> torch.nn.Module:
    settings = ModelSettings(source=f"hf:{kind}", args={"config": tiny(kind)})
    return build_model(settings, SPEC, seed=0, base=Path(), task=TASK).module


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", pytest.param("wavlm", marks=pytest.mark.filterwarnings("ignore"))])
def test_a_clip_has_the_same_answer_alone_and_in_a_batch(kind: str) -> None:
    module = fresh(kind)
    waves = [torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in (1000, 2345, 4001)]
    with torch.no_grad():
        together = module(**padded_waves(waves))
        for index, wave in enumerate(waves):
            alone = module(wave[None], torch.ones(1, len(wave), dtype=torch.int64))
            frames = len(wave) // 160
            assert alone.shape == (1, frames, len(NAMES))
            torch.testing.assert_close(together[index, :frames], alone[0], atol=1e-5, rtol=1e-4)
            assert is_padding(together)[index, frames:].all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with capital letters, as most of these have."""
    config = transformers.Wav2Vec2Config(**tiny("wav2vec2", vocab_size=6, pad_token_id=0))
    torch.manual_seed(0)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path / "net")
    tokens = {"<pad>": 0, "<s>": 1, "|": 2, "C": 3, "B": 4, "A": 5}
    (tmp_path / "net" / "vocab.json").write_text(json.dumps(tokens), encoding="utf-8")
    prepared = {"sampling_rate": 8000, "do_normalize": True}
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps(prepared), encoding="utf-8")
    return tmp_path


def test_its_characters_are_those_of_the_data(folder: Path) -> None:
    module = build_model(ModelSettings(source="hf:net"), SPEC, seed=0, base=folder, task=TASK).module
    network = transformers.Wav2Vec2ForCTC.from_pretrained(str(folder / "net")).eval()
    wave = torch.randn(1, 3200)
    with torch.no_grad():
        ours = module(wave, torch.ones(1, 3200, dtype=torch.int64))
        around = torch.nn.functional.pad((wave - wave.mean()) / (wave.var(unbiased=False) + 1e-7).sqrt(), (module.around,) * 2)
        theirs = network(around).logits[:, : ours.shape[1]]
    torch.testing.assert_close(ours, theirs[..., [0, 2, 5, 4]], atol=1e-5, rtol=1e-4)


def test_what_does_not_fit_is_told(folder: Path) -> None:
    spec = TASK.complete_spec(audio_spec(AudioSettings(rate=8000), (*NAMES, "z")))
    with pytest.raises(ModelError, match="does not know the characters 'z'"):
        build_model(ModelSettings(source="hf:net"), spec, seed=0, base=folder, task=TASK)
    other = TASK.complete_spec(audio_spec(AudioSettings(rate=16_000), NAMES))
    with pytest.raises(ModelError, match="takes audio of 8000 samples per second, the data have 16000"):
        build_model(ModelSettings(source="hf:net"), other, seed=0, base=folder, task=TASK)
    settings = ModelSettings(source="hf:bert", args={"config": {"model_type": "bert"}})
    with pytest.raises(ModelError, match="is a bert; speech_ctc takes networks of wav2vec2"):
        build_model(settings, SPEC, seed=0, base=folder, task=TASK)


def test_it_is_known_as_a_network_of_transformers(folder: Path) -> None:
    from compress.models.text.keep_layers import find_pretrained

    module = build_model(ModelSettings(source="hf:net"), SPEC, seed=0, base=folder, task=TASK).module
    assert find_pretrained(module) is not None
