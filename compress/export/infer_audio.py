"""The part of `infer.py` that makes the inputs of a network from an audio file."""

from __future__ import annotations

import inspect

from compress.core.network_spec import AudioPreprocessing
from compress.data.audio.settings import AUDIO, MASK

AUDIO_INPUT = """INPUT is an audio file that libsndfile reads (.wav, .flac, .ogg, .mp3, …), of at most {seconds:g} seconds,
the longest that the network was measured with."""
MARKER = "# --- copied into infer.py from here on ---\n"
PREPROCESS = '''RATE, MOST = {rate}, {most}  # samples per second, samples
{decode}

def preprocess(path):
    """An audio file as inputs of one sample: one channel, RATE samples per second in [-1, 1]."""
    audio = read_audio(path, RATE)[None]
    if audio.shape[1] > MOST:
        raise ValueError(f"it has {{audio.shape[1] / RATE:.1f}} s, the network takes {{MOST / RATE:g}} s; cut it")
    return {{"{audio}": audio, "{mask}": np.ones(audio.shape, dtype=np.int64)}}


'''


def audio_preprocessing(audio: AudioPreprocessing) -> tuple[str, str]:
    """What is given on the command line, and the source of `preprocess`.

    Args:
        audio: Preprocessing of the network.
    """
    from compress.data.audio import decode_audio

    decode = inspect.getsource(decode_audio).partition(MARKER)[2]
    body = PREPROCESS.format(rate=audio.rate, most=audio.most_samples, decode=decode, audio=AUDIO, mask=MASK)
    return AUDIO_INPUT.format(seconds=audio.most_samples / audio.rate), body
