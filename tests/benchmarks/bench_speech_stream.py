"""Speech in a stream: a causal CTC network and its distilled int8 student on recorded prompts, whole and chunk by chunk.

    python tests/benchmarks/bench_speech_stream.py PROMPTS --out DIR [--seed 0] [--page reports/benchmarks/speech.md]

PROMPTS is the folder of the unpacked Debian packages `asterisk-core-sounds-en` and `asterisk-core-sounds-en-wav`
(CC-BY-SA-3.0). The recipe is `speech_stream.yaml`; DIR keeps the run, and a next call continues it. The student alone is the
control of the recipe.
Prints a Markdown section, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file

from compress.config.devices import host
from compress.data.audio.decode_audio import read_audio
from compress.models.audio.ctc_network import CtcNetwork
from compress.models.audio.ctc_settings import read_ctc
from compress.tasks.ctc_decoding import greedy_texts
from compress.tasks.edit_distance import edit_distance
from tests.benchmarks.speech_clips import write_manifests
from tests.benchmarks.vision_table import replace_section

RECIPE = Path(__file__).with_name("speech_stream.yaml")
HEADING = "## A causal network in a stream"
HEAD = "# Speech\n\nRecorded speech; each section says what was trained on what.\n"
RESAMPLES = 2000
CHANCE = 100.0
"""WER of a network that writes nothing, percent."""
GOAL_POINTS, GOAL_RTF, GOAL_SIZE = 0.2, 0.2, 4.0
Wave = NDArray[np.float32]
Errors = NDArray[np.int64]
Logits = Callable[[Wave], NDArray[np.float32]]


class Clip(NamedTuple):
    """A clip: its samples and its transcript."""

    wave: Wave
    text: str


class Streamed(NamedTuple):
    """What the stream gave: texts, time of each chunk in seconds, and length of a chunk in seconds."""

    texts: list[str]
    times: list[float]
    chunk: float


def run(recipe: Mapping[str, Any], clips: Path, out: Path, seed: int) -> Path:
    """Run the recipe by the command line, or continue it; the folder of the run."""
    command = [sys.executable, "-m", "compress", "pipeline", str(RECIPE), "--out", str(out / "runs")]
    command += ["--set", f"data.source=audio_manifest:{clips}", "--set", f"seed={seed}"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(RECIPE.parents[2])})
    return max((out / "runs" / recipe["name"]).iterdir(), key=lambda each: each.stat().st_mtime)


def read_clips(manifest: Path, rate: int, most: float) -> list[Clip]:
    """The clips that are no longer than `most` seconds."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    clips = [Clip(read_audio(Path(row["audio"]), rate), row["text"]) for row in rows]
    return [clip for clip in clips if len(clip.wave) <= most * rate]


def of_file(path: Path) -> Logits:
    """Logits of an ONNX file, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda wave: np.asarray(session.run(None, {"audio": wave[None], "attention_mask": _mask(wave)})[0])


def of_weights(path: Path, args: Mapping[str, object], rate: int, outputs: int) -> Logits:
    """Logits of saved weights."""
    network = CtcNetwork(read_ctc("quartznet", args), rate, outputs)
    network.load_state_dict(load_file(path))
    network.eval()

    def logits(wave: Wave) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(network(torch.from_numpy(wave[None]), torch.from_numpy(_mask(wave))).numpy())

    return logits


def _mask(wave: Wave) -> NDArray[np.int64]:
    return np.ones((1, len(wave)), dtype=np.int64)


def errors(texts: Sequence[str], clips: Sequence[Clip]) -> Errors:
    """Errors and number of words, then of characters, of each clip, (N, 4)."""
    rows = []
    for text, clip in zip(texts, clips, strict=True):
        words = clip.text.split()
        rows.append((edit_distance(text.split(), words), len(words), edit_distance(text, clip.text), len(clip.text)))
    return np.array(rows)


def percent(rows: Errors, column: int) -> float:
    """Errors per word (column 0) or character (column 2), in percent."""
    return float(100 * rows[:, column].sum() / rows[:, column + 1].sum())


def interval(value: Callable[[NDArray[np.int64]], float], count: int) -> tuple[float, float]:
    """95 % bootstrap interval of a value of chosen clips."""
    drawn = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    low, high = np.quantile([value(chosen) for chosen in drawn], (0.025, 0.975))
    return float(low), float(high)


def shown(rows: Errors, column: int) -> str:
    """A rate with its interval."""
    low, high = interval(lambda chosen: percent(rows[chosen], column), len(rows))
    return f"{percent(rows, column):.1f} % ({low:.1f} to {high:.1f})"


def change(after: Errors, before: Errors, column: int) -> tuple[float, float, float]:
    """Difference of two rates on the same clips in points, with its interval."""
    low, high = interval(lambda chosen: percent(after[chosen], column) - percent(before[chosen], column), len(after))
    return percent(after, column) - percent(before, column), low, high


def timed(logits: Logits, clips: Sequence[Clip], rate: int) -> float:
    """Real-time factor: time of all clips by their length, after one clip as warm-up."""
    logits(clips[0].wave)
    start = time.perf_counter()
    for clip in clips:
        logits(clip.wave)
    return (time.perf_counter() - start) * rate / sum(len(clip.wave) for clip in clips)


def stream(artifact: Path, clips: Sequence[Clip]) -> Streamed:
    """Hear the clips by the `stream.py` of the artifact."""
    spec = importlib.util.spec_from_file_location("stream", artifact / "stream.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    listener, texts, times = module.Listener(), [], []
    silent = {name: np.zeros_like(value) for name, value in listener.states.items()}
    for clip in clips:
        listener.states, listener.before, text = dict(silent), 0, ""
        for start in range(0, len(clip.wave), module.CHUNK):
            before = time.perf_counter()
            text += listener.hear(clip.wave[start : start + module.CHUNK])
            times.append(time.perf_counter() - before)
        texts.append(text)
    return Streamed(texts, times, module.CHUNK / module.RATE)


def verdict(is_met: bool) -> str:
    """In bold."""
    return "**met**" if is_met else "**missed**"


def section(
    rows: Mapping[str, Errors], sizes: Mapping[str, float], factors: Mapping[str, float], streamed: Streamed, equal: int
) -> list[str]:
    """The lines of the table and of the goals."""
    lines = ["| network | size | WER | CER | real-time factor |", "|---|---|---|---|---|"]
    for name, each in rows.items():
        factor = f"{factors[name]:.4f}" if name in factors else "not measured (torch weights)"
        lines.append(f"| {name} | {sizes[name]:.2f} MB | {shown(each, 0)} | {shown(each, 2)} | {factor} |")
    for column, name in ((0, "WER"), (2, "CER")):
        value, low, high = change(rows["distilled"], rows["alone"], column)
        lines += ["", f"{name} of the distilled student against the student alone: {value:+.1f} points (paired 95 % interval "]
        lines[-1] += f"{low:+.1f} to {high:+.1f}); goal, an interval below 0: {verdict(high < 0)}."
    value, low, high = change(rows["int8"], rows["distilled"], 0)
    characters = change(rows["int8"], rows["distilled"], 2)
    is_chance = percent(rows["distilled"], 0) >= CHANCE
    smaller, shipped = (sizes["teacher"] / sizes[name] for name in ("distilled", "int8"))
    slowest = float(np.quantile(streamed.times, 0.95))
    factor = float(np.sum(streamed.times)) / (len(streamed.times) * streamed.chunk)
    count = len(streamed.texts)
    return [
        *lines,
        "",
        f"Int8 against float: WER {value:+.2f} points ({low:+.2f} to {high:+.2f}), CER {characters[0]:+.2f} points "
        f"({characters[1]:+.2f} to {characters[2]:+.2f}); goal, at most {GOAL_POINTS} of WER: "
        f"{'not judged, since the WER is at chance' if is_chance else verdict(value <= GOAL_POINTS)}.",
        "",
        f"Student against its teacher: ÷ {smaller:.1f} in float, {verdict(smaller >= GOAL_SIZE)}, and ÷ {shipped:.1f} "
        f"in int8, {verdict(shipped >= GOAL_SIZE)}; goal, ÷ {GOAL_SIZE:g}.",
        "",
        f"In a stream (`streaming.onnx` in int8, by the artifact's `stream.py`): {equal} of {count} texts equal those of whole "
        f"clips: {verdict(equal == count)}. A chunk of {1e3 * streamed.chunk:.0f} ms takes "
        f"{1e3 * np.median(streamed.times):.2f} ms (median; 95 % of the chunks at most {1e3 * slowest:.2f} ms), a real-time "
        f"factor of {factor:.4f}; goal, at most {GOAL_RTF}: {verdict(factor <= GOAL_RTF)}.",
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    folder = given.out.resolve() / "clips"
    write_manifests(given.prompts, folder, given.seed)
    ran = run(recipe, folder, given.out.resolve(), given.seed)
    audio, artifact = recipe["data"]["audio"], ran / "artifacts" / "host"
    clips, training = (read_clips(folder / f"{split}.jsonl", audio["rate"], audio["most"]) for split in ("test", "train"))
    names = json.loads((artifact / "labels.json").read_text(encoding="utf-8"))
    files = {"teacher": ran / "00-teacher" / "model.onnx", "alone": ran / "01-distill" / "control.safetensors"}
    files |= {"distilled": ran / "01-distill" / "model.onnx", "int8": artifact / "model.onnx"}
    logits = {name: of_file(path) for name, path in files.items() if path.suffix == ".onnx"}
    logits["alone"] = of_weights(files["alone"], recipe["model"]["args"], audio["rate"], len(names))
    texts = {name: [greedy_texts(logits[name](clip.wave), names)[0] for clip in clips] for name in files}
    rows = {name: errors(each, clips) for name, each in texts.items()}
    factors = {name: timed(logits[name], clips, audio["rate"]) for name in ("teacher", "distilled", "int8")}
    sizes = {name: path.stat().st_size / 1e6 for name, path in files.items()}
    streamed = stream(artifact, clips)
    equal = sum(one == other for one, other in zip(streamed.texts, texts["int8"], strict=True))
    machine = host().hardware
    minutes, heard = (sum(len(clip.wave) for clip in each) / audio["rate"] / 60 for each in (clips, training))
    about = (
        f"{len(training)} clips ({heard:.1f} min) of recorded telephone prompts to train on, {len(clips)} "
        f"({minutes:.1f} min) to test, each of at most {audio['most']:g} s; one speaker, 8 kHz, no text twice; the recipe "
        f"`tests/benchmarks/speech_stream.yaml`, "
        f"seed {given.seed}; one thread of {machine.cpu if machine else 'this machine'}, load average {os.getloadavg()[0]:.0f}."
    )
    samples = [f"| {clip.text} | {texts['teacher'][i]} | {texts['int8'][i]} |" for i, clip in enumerate(clips[:4])]
    table = ["", "| said | teacher | int8 student |", "|---|---|---|", *samples]
    text = "\n".join([HEADING, "", about, "", *section(rows, sizes, factors, streamed, equal), *table]) + "\n"
    print(text)
    if given.page is not None:
        if not given.page.exists():
            given.page.write_text(HEAD, encoding="utf-8")
        replace_section(given.page, text)


if __name__ == "__main__":
    main()
