"""CTC networks: frames, and clips that have the same answers alone and in a batch, in torch and in the ONNX file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.config.recipe import loads
from compress.core.errors import ModelError, RecipeError
from compress.core.network_spec import LOGITS
from compress.data.audio.build import audio_spec
from compress.data.audio.clips import padded_waves
from compress.data.audio.settings import AudioSettings
from compress.models.audio.ctc_network import AudioClassifier, CtcNetwork
from compress.models.audio.ctc_settings import CtcSettings, read_ctc
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.audio.padded_frames import is_padding
from compress.tasks.audio.speech_ctc import SpeechCtc

NAMES = ("<blank>", " ", "a", "b")
AUDIO = AudioSettings(rate=8000, typical=0.5, most=2.0)


def network(**args: object) -> CtcNetwork:
    torch.manual_seed(0)
    settings = CtcSettings.model_validate({"width": 8, "kernels": (5, 7), "bands": 12, **args})
    return CtcNetwork(settings, 8000, len(NAMES)).eval()


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_the_number_of_frames_is_that_of_whole_strides(stride: int) -> None:
    net = network(stride=stride)
    for samples in (400, 799, 800, 1601, 3999):
        z = net(torch.randn(1, samples), torch.ones(1, samples, dtype=torch.int64))
        assert z.shape == (1, samples // 80 // stride, len(NAMES))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_clip_has_the_same_answer_in_a_batch_with_longer_ones(stride: int) -> None:
    net = network(stride=stride, repeats=2)
    waves = [torch.randn(length) for length in (1000, 2345, 1777, 4001)]
    inputs = padded_waves(waves)
    with torch.no_grad():
        together = net(**inputs)
        for index, wave in enumerate(waves):
            alone = net(wave[None], torch.ones(1, len(wave), dtype=torch.int64))
            frames = alone.shape[1]
            torch.testing.assert_close(together[index, :frames], alone[0], atol=1e-5, rtol=1e-4)
            assert is_padding(together)[index, frames:].all()
            assert not is_padding(together)[index, :frames].any()


def test_the_source_builds_it_for_the_data() -> None:
    task = SpeechCtc()
    spec = task.complete_spec(audio_spec(AUDIO, NAMES))
    settings = ModelSettings(source="ctc:quartznet", args={"width": 8, "kernels": [5]})
    module = build_model(settings, spec, seed=0, base=Path(), task=task).module
    outputs = task.forward(module, spec.signature.example(2))
    assert outputs[LOGITS].shape == (2, 4000 // 80 // 2, len(NAMES))


def test_faulty_arguments_are_refused_in_the_recipe() -> None:
    with pytest.raises(ValueError, match=r"no argument 'widht'.*width"):
        read_ctc("quartznet", {"widht": 3})
    with pytest.raises(ValueError, match="odd sizes"):
        read_ctc("quartznet", {"kernels": [4]})
    text = (
        "name: a\ntask: speech_ctc\ndata: {source: spoken_digits_synthetic}\nmodel: {source: 'ctc:quarznet'}\n"
        "stages: [{train: {epochs: 1}}]\n"
    )
    with pytest.raises(RecipeError, match="did you mean 'quartznet'"):
        loads(text)


def test_data_that_are_no_audio_are_refused() -> None:
    from compress.core.network_spec import image_spec

    spec = image_spec(channels=3, height=8, width=8, mean=(0.0,), std=(1.0,), classes=("a", "b"))
    with pytest.raises(ModelError, match="takes audio"):
        build_model(ModelSettings(source="ctc:quartznet"), spec, seed=0, base=Path())


def test_a_classifier_has_the_same_answer_in_a_batch_with_longer_clips() -> None:
    torch.manual_seed(0)
    net = AudioClassifier(CtcSettings(width=8, kernels=(5,), bands=12), 8000, 3).eval()
    waves = [torch.randn(length) for length in (1000, 2345, 4001)]
    with torch.no_grad():
        together = net(**padded_waves(waves))
        for index, wave in enumerate(waves):
            alone = net(wave[None], torch.ones(1, len(wave), dtype=torch.int64))
            torch.testing.assert_close(together[index : index + 1], alone, atol=1e-5, rtol=1e-4)
