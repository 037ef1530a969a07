"""Voice activity: a finished ONNX file with control flow and states (silero), quantized, in a stream.

    python tests/benchmarks/bench_voice_activity.py SILERO PROMPTS --out DIR [--page reports/benchmarks/speech.md]

SILERO is the file `silero_vad_16k_op15.onnx` of the package silero-vad (MIT), PROMPTS the folder of the unpacked Debian
packages `asterisk-core-sounds-en` and `-en-wav` (CC-BY-SA-3.0). The file takes 64 samples of the chunk before and 512
new ones, a state, and the sampling rate; it gives a probability and the next state. Calibration samples are chunks with
the states of the float file; the answers are compared with each file's own states carried over from chunk to chunk.
Prints a Markdown section, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
import yaml
from numpy.typing import NDArray

from compress import Pipeline
from compress.backends import onnx_files
from compress.backends.onnx_session import create_session
from compress.config.devices import host
from compress.core.format_quantity import format_value
from compress.core.network_spec import LOGITS
from compress.core.record import Quantity
from compress.data.batch import TARGET
from compress.tasks.audio.frame_metrics import FalseAlarmsPerHour, FrameErrorRate, FrameMetric, RocAuc
from compress.tasks.metric import Scores
from compress.tasks.metric_quantity import estimate, gain_of
from tests.benchmarks.recorded_prompts import prompts
from tests.benchmarks.vision_table import replace_section
from tests.benchmarks.voice_recordings import FRAME, RATE, Recording, draw_recordings

HEADING = "## Voice activity: a file with control flow and states"
CONTEXT = 64
"""Samples of the chunk before that the file reads again."""
FRAME_H = FRAME / RATE / 3600
METRICS: tuple[FrameMetric, ...] = (RocAuc(FRAME_H), FrameErrorRate(FRAME_H), FalseAlarmsPerHour(FRAME_H))
RECORDINGS = {"calibration": 12, "validation": 20, "test": 40}
SAMPLES = {"train": 512, "validation": 128, "test": 128}
FILES: Mapping[str, tuple[str, ...] | None] = {
    "float": None,
    "int8, all convolutions": (),
    "int8, spectrum and output in float": ("*stft*", "*decoder*"),
}
"""Files by their name, with `keep_float`."""
GOAL = 0.002
"""Largest loss of the area."""


class Streamed(NamedTuple):
    """Probability of speech of each chunk, its time in seconds, and the inputs with states."""

    speech: NDArray[np.float64]
    seconds: list[float]
    inputs: list[dict[str, NDArray[Any]]]


def stream(session: onnxruntime.InferenceSession, recording: Recording) -> Streamed:
    """Run a file over a recording, chunk by chunk, with its own states."""
    state, before = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32)
    found = Streamed(np.zeros(len(recording.speech)), [], [])
    for index, chunk in enumerate(recording.wave.reshape(-1, FRAME)):
        feeds = {"input": np.concatenate([before, chunk])[None], "state": state, "sr": np.array(RATE, np.int64)}
        start = time.perf_counter()
        probability, state = session.run(None, feeds)
        found.seconds.append(time.perf_counter() - start)
        found.speech[index], before = probability[0, 0], chunk[-CONTEXT:]
        found.inputs.append(feeds)
    return found


def rows(recordings: Sequence[Recording], found: Sequence[Streamed]) -> Scores:
    """Statistics of each recording; see `frame_metrics`."""
    p = np.clip(np.stack([each.speech for each in found]), 1e-9, 1 - 1e-9)
    score = torch.from_numpy(np.log(p) - np.log1p(-p))
    targets = torch.from_numpy(np.stack([each.speech for each in recordings]).astype(np.int64))
    outputs = {LOGITS: torch.stack([torch.zeros_like(score), score], dim=2)}
    return METRICS[0].scores(outputs, {TARGET: targets}).numpy()


def write_samples(found: Sequence[Streamed], folder: Path) -> None:
    """Chunks with states as `train.npz`, `validation.npz` and `test.npz`."""
    inputs = [each for streamed in found for each in streamed.inputs]
    order = np.random.default_rng(0).permutation(len(inputs))
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for name, count in SAMPLES.items():
        chosen = [inputs[index] for index in order[start : start + count]]
        state = np.stack([each["state"] for each in chosen])
        audio = np.concatenate([each["input"] for each in chosen])
        np.savez(folder / f"{name}.npz", input=audio, state=state, sr=np.full(count, RATE, np.int64))
        start += count


def quantized(source: Path, samples: Path, keep_float: Sequence[str], out: Path) -> Path:
    """The int8 file of a recipe with this `keep_float`."""
    gate = {"keep": "quantized", "seconds": 0.1}
    recipe = {
        "name": "silero_int8",
        "task": "outputs",
        "data": {"source": f"npz:{samples}"},
        "model": {"source": f"onnx:{source}"},
        "stages": [{"quantize": {"scheme": "int8", "keep_float": [*keep_float], "accept_if": gate}}, "export"],
    }
    path = out / f"silero_int8_{len(keep_float)}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run = Pipeline.load(path).run(out=out, device="cpu")
    return next(run.folder.glob("artifacts/*/model.onnx"))


def paired_ratio(float_seconds: Sequence[Streamed], seconds: Sequence[Streamed]) -> tuple[float, float, float]:
    """Ratio of the median times of a chunk, float by other, with its 95 % bootstrap interval over recordings."""
    ratios = np.array([np.median(a.seconds) / np.median(b.seconds) for a, b in zip(float_seconds, seconds, strict=True)])
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios))).mean(axis=1)
    return float(ratios.mean()), *(float(each) for each in np.percentile(drawn, [2.5, 97.5]))


def interval(quantity: Quantity) -> str:
    """A value with its interval."""
    low, value, high = (
        format_value(each, quantity.unit) if each is not None else "—" for each in (quantity.low, quantity.value, quantity.high)
    )
    return f"{value} ({low} to {high})"


def section(
    sizes: Mapping[str, int], scores: Mapping[str, Scores], times: Mapping[str, Sequence[Streamed]], speech: float
) -> str:
    """The section of the page."""
    load = os.getloadavg()[0]
    lines = [
        HEADING,
        "",
        "`silero_vad_16k_op15.onnx` of silero-vad 6.2.3: convolutions, three `If` with an LSTM in two of them, a state "
        "that goes in and "
        f"out, free batch, length. {RECORDINGS['test']} drawn recordings of 30 s to test on ({100 * speech:.0f} % speech, by "
        "the energy of the "
        f"clean clips), {RECORDINGS['validation']} for the threshold, {RECORDINGS['calibration']} for calibration; real "
        "prompts of one "
        "speaker, other clips in each, 5 to 25 dB above drawn noise, hum and beeps. Each file's own state is carried from "
        "chunk to chunk "
        f"over the whole recording. One thread of {host().hardware.cpu}, load average {load:.0f} by other programs; files "
        "timed in turns, "
        "recording by recording.",
        "",
        "| file | size | area under the ROC curve | frame error rate | false alarms per hour | chunk of 32 ms, median | "
        "against float |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, own in scores.items():
        values = " | ".join(interval(estimate(metric, own, "")) for metric in METRICS)
        median = 1000 * float(np.median([each for one in times[name] for each in one.seconds]))
        ratio, low, high = paired_ratio(times["float"], times[name])
        against = "" if name == "float" else f"÷ {ratio:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"| {name} | {sizes[name] / 1e6:.2f} MB | {values} | {median:.3f} ms | {against} |")
    lines.append("")
    for name in [*scores][1:]:
        gain = gain_of(METRICS[0], scores["float"], scores[name], "float")
        met = "met" if gain.low is not None and gain.low >= -GOAL else "missed"
        lines += [
            f"{name}, against float: area {100 * (gain.value or 0):+.2f} points (paired 95 % interval "
            f"{100 * (gain.low or 0):+.2f} "
            f"to {100 * (gain.high or 0):+.2f}); goal, a loss of at most {100 * GOAL:g} points: **{met}**.",
            "",
        ]
    lines += [
        "The LSTM is inside of branches, where nothing is quantized, so 0.5 MB stay in float. Without labels `compress "
        "quantize` judges "
        "by the similarity of all outputs, here 92 %, and keeps the float file unless `accept_if: {keep: quantized}` is "
        "set; the table "
        "judges by speech. `compress profile` runs all files of the package. In `silero_vad.onnx`, which takes 8 and 16 "
        "kHz, all layers "
        "are inside of the branches of the sampling rate; `compress quantize` says so, and writes the float file.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Draw, quantize, stream, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("silero", type=Path)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    clips = [path for path, _ in prompts(arguments.prompts)]
    np.random.default_rng(0).shuffle(clips)  # type: ignore[arg-type]
    parts = dict(zip(RECORDINGS, np.array_split(np.array(clips, dtype=object), len(RECORDINGS)), strict=True))
    recordings = {
        name: draw_recordings(list(parts[name]), count, seed) for seed, (name, count) in enumerate(RECORDINGS.items())
    }
    source = arguments.silero.resolve()
    write_samples([stream(create_session(onnx_files.load(source), threads=1), each) for each in recordings["calibration"]],
                  arguments.out / "samples")  # fmt: skip
    samples = (arguments.out / "samples").resolve()
    paths = {
        name: source if keep is None else quantized(source, samples, keep, arguments.out / "runs")
        for name, keep in FILES.items()
    }
    sessions = {name: create_session(onnx_files.load(path), threads=1) for name, path in paths.items()}
    found: dict[str, dict[str, list[Streamed]]] = {name: {"validation": [], "test": []} for name in FILES}
    for split in ("validation", "test"):
        for recording in recordings[split]:
            for name, session in sessions.items():
                found[name][split].append(stream(session, recording))
    scores = {}
    for name, own in found.items():
        threshold = METRICS[0].choose_threshold(rows(recordings["validation"], own["validation"]))
        scores[name] = METRICS[0].with_threshold(rows(recordings["test"], own["test"]), threshold)
    speech = float(np.mean([each.speech.mean() for each in recordings["test"]]))
    text = section(
        {name: path.stat().st_size for name, path in paths.items()},
        scores,
        {name: own["test"] for name, own in found.items()},
        speech,
    )
    print(text)
    if arguments.page:
        replace_section(arguments.page, text)


if __name__ == "__main__":
    main()
