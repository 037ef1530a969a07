"""`streaming.onnx` and `stream.py` beside the file of a causal network of audio, which take the audio chunk by chunk.

The chunks of validation clips must have the outputs of the whole clips before the files are kept.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx

from compress.backends import onnx_files
from compress.backends.onnx_session import create_session
from compress.backends.streaming_graph import StreamingGraph, to_streaming
from compress.core.atomic_files import write_text
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.data.audio.settings import AUDIO, MASK
from compress.data.batch import Batch
from compress.export.infer_audio import stream_script
from compress.export.manifest import MODEL, rewrite_manifest

FILE, SCRIPT = "streaming.onnx", "stream.py"
CHUNK_S = 0.16
"""Seconds of a chunk, rounded up to whole frames."""
CLIPS = 4
"""Validation clips that are compared."""
TOLERANCE = 1e-3
"""Largest difference of a logit, as a fraction of the largest one of the whole clip."""


def write_streaming(candidate: Candidate, folder: Path, context: Context) -> tuple[Fact, ...]:
    """Write the files for a stream, where the network allows one.

    Args:
        candidate: The network, an ONNX file.
        folder: Folder of the artifact, with its manifest.
        context: Task and data.

    Returns:
        A note with chunk, look-ahead and the difference that was found, or with the reason; none for a network that sees later
        frames.
    """
    spec = candidate.spec
    code = context.task.stream_code
    if code is None or spec.audio is None or not (folder / MODEL).is_file():
        return ()
    try:
        streaming = to_streaming(onnx_files.load(folder / MODEL))
    except ConversionError:
        return ()
    chunk = streaming.step * math.ceil(CHUNK_S * spec.audio.rate / streaming.step)
    onnx.save(streaming.model, folder / FILE)
    try:
        clips, difference = _compare(folder, streaming, chunk, context)
    except ConversionError as error:
        (folder / FILE).unlink()
        return (Fact.of("export.no_streaming", FILE, reason=str(error)),)
    write_text(folder / SCRIPT, stream_script(spec, streaming, chunk, code))
    entry = {
        "file": FILE,
        "run": f"python {SCRIPT} clip.wav",
        "chunk_samples": chunk,
        "multiple_of_samples": streaming.step,
        "look_ahead_samples": 0,
        "states": [{"name": each.name, "shape": ["batch", each.channels, each.frames]} for each in streaming.states],
    }
    rewrite_manifest(folder, {"streaming": entry})
    milliseconds = round(1000 * chunk / spec.audio.rate)
    return (Fact.of("export.streaming", FILE, chunk_ms=milliseconds, clips=clips, difference=float(f"{difference:.2g}")),)


def _compare(folder: Path, streaming: StreamingGraph, chunk: int, context: Context) -> tuple[int, float]:
    """Number of clips, and the largest difference of their logits in chunks from those of the whole clip.

    Raises:
        ConversionError: They differ.
    """
    whole, parts = (create_session(onnx_files.load(folder / name), threads=1) for name in (MODEL, FILE))
    batch: Batch = next(iter(context.data.validation.ordered(CLIPS)))
    worst, scale = 0.0, 1e-6
    for audio, mask in zip(batch.inputs[AUDIO].numpy(), batch.inputs[MASK].numpy(), strict=True):
        clip = audio[: int(mask.sum())][None]
        expected = whole.run(None, {AUDIO: clip, MASK: np.ones(clip.shape, np.int64)})[0]
        states = {each.name: np.zeros((1, each.channels, each.frames), np.float32) for each in streaming.states}
        found = []
        for start in range(0, clip.shape[1], chunk):
            piece = clip[:, start : start + chunk]
            known = np.ones(piece.shape, np.int64)
            rest = -piece.shape[1] % streaming.step
            piece, known = np.pad(piece, ((0, 0), (0, rest))), np.pad(known, ((0, 0), (0, rest)))
            logits, *later = parts.run(None, {AUDIO: piece, MASK: known, **states})
            states = dict(zip(states, later, strict=True))
            found.append(logits)
        joined = np.concatenate(found, axis=1)[:, : expected.shape[1]]
        worst, scale = max(worst, float(np.abs(joined - expected).max())), max(scale, float(np.abs(expected).max()))
    if not worst <= TOLERANCE * scale:
        msg = gettext("the outputs of chunks differ from those of whole clips by up to {worst:.3g}", worst=worst)
        raise ConversionError(msg)
    return batch.size, worst
