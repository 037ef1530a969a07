"""`infer.py` of an artifact that hears a clip and writes its text: numpy, onnxruntime, soundfile and scipy alone."""

from __future__ import annotations

import inspect

from compress.core.network_spec import NetworkSpec
from compress.export.infer_audio import audio_preprocessing
from compress.export.respond_script import LOOP, SOURCE, WHOLE_LOOP
from compress.tasks.audio.written_pieces import text_of_pieces

HEAD = '''"""Print what is said:  python infer.py INPUT

{about}
Needs: pip install numpy onnxruntime soundfile scipy
"""

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
{preprocess}
{pieces}
{session}

'''
WRITE = '''def transcribe(path, threads=1):
    """The text of a clip; the encoder hears it once."""
    pieces = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    encoder, decoder = session("encoder.onnx", threads), session("decoder.onnx", threads)
{loop}        token = PREFIX[len(written)] if len(written) < len(PREFIX) else token
        if token == END:
            break
        written.append(token)
    return text_of_pieces([pieces[token] for token in written[len(PREFIX) :]])


if __name__ == "__main__":
    try:
        print(transcribe(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {sys.argv[1]}: {error}")
'''
_SESSION = SOURCE[SOURCE.index("def session(") : SOURCE.index("def prompt_tokens(")]
_READS = {
    '    ids = np.array([prompt_tokens(prompt, tokenizer)], np.int64)\n    given = {"input_ids": value(ids), '
    '"attention_mask": value(np.ones_like(ids))}\n': (
        "    given = {name: value(array) for name, array in preprocess(path).items()}\n"
    ),
    '    ids = np.array([prompt_tokens(prompt, tokenizer)], np.int64)\n    given = {"input_ids": ids, '
    '"attention_mask": np.ones_like(ids)}\n': "    given = preprocess(path)\n",
    "min(most, MOST)": "MOST_TOKENS - 1",
}
"""Parts of the loop of encoder-decoders of texts, and what they are for clips."""


def written_speech_script(spec: NetworkSpec, *, cache: bool = True) -> str:
    """Python source of `infer.py` for `encoder.onnx`, `decoder.onnx` and `labels.json` in the same folder.

    Args:
        spec: Of a network of audio that writes tokens.
        cache: The decoder keeps keys and values.
    """
    audio = spec.audio
    assert audio is not None  # noqa: S101  # checked by the caller
    about, preprocess = audio_preprocessing(audio, spec.signature)
    loop = LOOP if cache else WHOLE_LOOP
    for theirs, own in _READS.items():
        loop = loop.replace(theirs, own)
    head = HEAD.format(
        about=about,
        preprocess=preprocess.rstrip(),
        pieces="\n" + inspect.getsource(text_of_pieces),
        session="\n" + _SESSION.rstrip(),
    )
    return head + WRITE.replace("{loop}", loop)
