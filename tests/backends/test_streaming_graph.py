"""Networks for a stream: chunk by chunk the outputs are those of the whole clip, in float and in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from compress.backends.export_onnx import export_onnx
from compress.backends.streaming_graph import StreamingGraph, to_streaming
from compress.core.errors import ConversionError
from compress.data.audio.build import audio_spec
from compress.data.audio.settings import AudioSettings
from compress.models.audio.ctc_network import CtcNetwork
from compress.models.audio.ctc_settings import CtcSettings
from compress.tasks.audio.speech_ctc import SpeechCtc

SPEC = SpeechCtc().complete_spec(audio_spec(AudioSettings(rate=8000, typical=0.5, most=2.0), ("<blank>", " ", "a", "b")))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> onnx.ModelProto:
    torch.manual_seed(0)
    settings = CtcSettings(width=8, kernels=(5, 7), bands=12, causal=True)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    export_onnx(CtcNetwork(settings, 8000, 4).eval(), SPEC, path)
    return onnx.load(path)


def whole(model: onnx.ModelProto, audio: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"audio": audio, "attention_mask": np.ones(audio.shape, np.int64)})[0]


def in_chunks(streaming: StreamingGraph, audio: np.ndarray, chunk: int) -> np.ndarray:
    session = onnxruntime.InferenceSession(streaming.model.SerializeToString())
    states = {each.name: np.zeros((1, each.channels, each.frames), np.float32) for each in streaming.states}
    found = []
    for start in range(0, audio.shape[1], chunk):
        piece = audio[:, start : start + chunk]
        logits, *later = session.run(None, {"audio": piece, "attention_mask": np.ones(piece.shape, np.int64), **states})
        states = dict(zip(states, later, strict=True))
        found.append(logits)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("frames", [1, 3, 10])
def test_chunks_of_any_length_have_the_outputs_of_the_whole_clip(network: onnx.ModelProto, frames: int) -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, (1, 160 * 30)).astype(np.float32)
    streaming = to_streaming(network)
    assert streaming.step == 160
    np.testing.assert_allclose(in_chunks(streaming, audio, 160 * frames), whole(network, audio), atol=1e-5)


def test_a_convolution_in_integers_has_the_same_outputs(network: onnx.ModelProto, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    audio = np.random.default_rng(1).normal(0, 0.1, (1, 160 * 30)).astype(np.float32)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = iter([{"audio": audio, "attention_mask": np.ones(audio.shape, np.int64)}])

        def get_next(self):
            return next(self.feeds, None)

    onnx.save(network, tmp_path / "net.onnx")
    kept = [node.name for node in network.graph.node if node.name.startswith("features")]
    quantize_static(tmp_path / "net.onnx", tmp_path / "int8.onnx", Reader(), nodes_to_exclude=kept)
    model = onnx.load(tmp_path / "int8.onnx")
    streaming = to_streaming(model)
    assert len(streaming.states) == 5
    np.testing.assert_allclose(in_chunks(streaming, audio, 480), whole(model, audio), atol=1e-4)


def test_a_network_that_sees_later_frames_is_refused(tmp_path: Path) -> None:
    settings = CtcSettings(width=8, kernels=(5,), bands=12)
    export_onnx(CtcNetwork(settings, 8000, 4).eval(), SPEC, tmp_path / "net.onnx")
    with pytest.raises(ConversionError, match="sees later frames"):
        to_streaming(onnx.load(tmp_path / "net.onnx"))
