"""The part of `infer.py` that makes the inputs of a network from an audio file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from compress.backends.streaming_graph import StreamingGraph
from compress.core.network_spec import AudioPreprocessing, NetworkSpec
from compress.core.signature import Signature
from compress.data.audio.settings import AUDIO, MASK, SAMPLES
from compress.tasks.infer_code import InferCode

AUDIO_INPUT = """INPUT is an audio file that libsndfile reads (.wav, .flac, .ogg, .mp3, …), of at most {seconds:g} seconds,
the longest that the network was measured with."""
MARKER = "# --- copied into infer.py from here on ---\n"
PREPROCESS = '''RATE, LEAST, MOST = {rate}, {least}, {most}  # samples per second, samples
{decode}

def preprocess(path):
    """An audio file as inputs of one sample: one channel, RATE samples per second in [-1, 1]."""
    audio = read_audio(path, RATE)[None]
    if audio.shape[1] < LEAST:
        raise ValueError(f"it has {{audio.shape[1] / RATE:.3f}} s, the network needs {{LEAST / RATE:g}} s; give a longer clip")
    if audio.shape[1] > MOST:
        raise ValueError(f"it has {{audio.shape[1] / RATE:.1f}} s, the network takes {{MOST / RATE:g}} s; cut it")
    return {{"{audio}": audio, "{mask}": np.ones(audio.shape, dtype=np.int64)}}


'''


def _decoding_source() -> str:
    """The source of the decoding of audio files; it is read and not imported, since it needs soundfile."""
    spec = find_spec("compress.data.audio.decode_audio")
    assert spec is not None  # noqa: S101  # it is a file of this package
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).read_text(encoding="utf-8").partition(MARKER)[2]


def audio_preprocessing(audio: AudioPreprocessing, signature: Signature) -> tuple[str, str]:
    """What is given on the command line, and the source of `preprocess`.

    Args:
        audio: Preprocessing of the network.
        signature: Its inputs, with the samples of the shortest clip that it takes.
    """
    decode = _decoding_source()
    least = signature.sizes[SAMPLES].least if SAMPLES in signature.sizes else 1
    body = PREPROCESS.format(rate=audio.rate, least=least, most=audio.most_samples, decode=decode, audio=AUDIO, mask=MASK)
    if (written := audio.written) is not None:
        body = f"PREFIX, END, MOST_TOKENS = {list(written.prefix)}, {written.end}, {written.most}\n{body}"
    return AUDIO_INPUT.format(seconds=audio.most_samples / audio.rate), body


STREAM = '''"""{purpose}, as it would be heard:  python stream.py clip.wav

streaming.onnx takes CHUNK samples and the states after the chunk before, which are zeros at first; it looks at no later audio.
Needs: pip install numpy onnxruntime soundfile scipy
"""

from __future__ import annotations

import json
import os
import sys
from math import gcd
from os import PathLike
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import onnxruntime
import soundfile

HERE = Path(__file__).resolve().parent
RATE, CHUNK = {rate}, {chunk}  # samples per second, samples
STATES = {states}  # name, channels, frames
{decode}
{tell}
class Listener:
    """Runs the network on the chunks of a stream."""

    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(
            str(HERE / "streaming.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.states = {{name: np.zeros((1, channels, frames), np.float32) for name, channels, frames in STATES}}
        self.teller = Teller()

    def hear(self, samples):
        """The new text after a chunk; only the last chunk may be shorter than CHUNK."""
        audio = np.zeros((1, CHUNK), np.float32)
        audio[0, : len(samples)] = samples
        mask = (np.arange(CHUNK) < len(samples)).astype(np.int64)[None]
        logits, *states = self.session.run(None, {{"{audio}": audio, "{mask}": mask, **self.states}})
        self.states = dict(zip(self.states, states))
        return self.teller.tell(logits[0])


if __name__ == "__main__":
    try:
        clip = read_audio(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__), RATE)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {{sys.argv[1]}}: {{error}}")
    listener = Listener()
    for start in range(0, len(clip), CHUNK):
        print(listener.hear(clip[start : start + CHUNK]), end="", flush=True)
    print(listener.teller.end(), end="")
'''


def stream_script(spec: NetworkSpec, streaming: StreamingGraph, chunk: int, code: InferCode) -> str:
    """Python source of `stream.py` for `streaming.onnx` and the other files of the artifact in the same folder.

    Args:
        spec: Of the network.
        streaming: Its form for a stream.
        chunk: Samples of a chunk.
        code: Of the task, for the outputs.
    """
    decode = _decoding_source()
    states = [(each.name, each.channels, each.frames) for each in streaming.states]
    rate = spec.audio.rate if spec.audio is not None else 0
    return STREAM.format(
        purpose=code.purpose, rate=rate, chunk=chunk, states=states, decode=decode, tell=code.source, audio=AUDIO, mask=MASK
    )
