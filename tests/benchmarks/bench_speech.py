"""Speech: Whisper tiny.en → a CTC student of recorded prompts → int8, by the recipe of a user; distilled against alone.

    python -m tests.benchmarks.bench_speech PROMPTS WHISPER --out DIR [--epochs 40] [--page PAGE.md]

PROMPTS is the folder of the unpacked packages of `recorded_prompts.py`, WHISPER a folder of transformers with Whisper tiny.en.
A head for characters is trained on the frozen encoder (`whisper_head.py`), which then teaches a small network. The student
alone has the same initial weights, steps and data. DIR keeps all, and the next call continues. Prints the section, and with
`--page` puts it in place.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from numpy.typing import NDArray

from compress.config.devices import host
from compress.data.audio.decode_audio import read_audio
from compress.data.characters import character_names
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing, measure, speedup
from compress.tasks.ctc_decoding import greedy_texts
from compress.tasks.edit_distance import edit_distance
from tests.benchmarks.recorded_prompts import PARTS, write_manifest
from tests.benchmarks.vision_table import replace_section
from tests.benchmarks.whisper_ctc import WhisperTeacher, network
from tests.benchmarks.whisper_head import RATE, train_head

HEADING = "## Recorded prompts: Whisper tiny.en to an int8 CTC student"
MOST_S = 3.0
"""Longest clip, seconds."""
HEAD_EPOCHS = 25
RESAMPLES = 2000
SECONDS = 3.0
STUDENT = {"source": "ctc:quartznet", "args": {"width": 96, "kernels": [11, 13, 15, 17], "bands": 40, "window": 0.016}}
ROOT = Path(__file__).resolve().parents[2]
Errors = NDArray[np.int64]
Clip = tuple[NDArray[np.float32], str]
Logits = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def clips(folder: Path, split: str) -> list[Clip]:
    """Samples and text of each clip of a manifest that is no longer than `MOST_S`."""
    rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
    read = ((read_audio(row["audio"], RATE), row["text"]) for row in rows)
    return [(wave, text) for wave, text in read if len(wave) <= MOST_S * RATE]


def teacher(prompts: Path, whisper: Path, head: Path, names: tuple[str, ...]) -> WhisperTeacher:
    """The encoder with its trained head, trained once."""
    made = network(str(whisper), len(names), head=str(head) if head.exists() else None)
    assert isinstance(made, WhisperTeacher)
    if not head.exists():
        classes = {name: index for index, name in enumerate(names)}
        rows = [(wave, [classes[each] for each in text]) for wave, text in clips(prompts, "train")]
        train_head(made, rows, head, epochs=HEAD_EPOCHS)
    return made.eval()


def recipes(prompts: Path, whisper: Path, head: Path, epochs: int, seed: int) -> dict[str, dict[str, Any]]:
    """The recipe of the student alone and of the distilled one."""
    audio = {"rate": RATE, "typical": 1.5, "most": MOST_S}
    base = {
        "task": "speech_ctc",
        "seed": seed,
        "data": {"source": f"audio_manifest:{prompts}", "audio": audio},
        "model": STUDENT,
    }
    training = {"epochs": epochs, "batch_size": 8, "optimizer": "adamw", "lr": 0.003, "schedule": "onecycle"}
    losses = [{"ctc_posteriors": {"temperature": 1.0, "blank_weight": 0.3, "weight": 0.7}}, {"task": {"weight": 0.3}}]
    source = f"python:{Path(__file__).with_name('whisper_ctc.py')}:network"
    teaching = {"teacher": {"source": source, "args": {"folder": str(whisper), "head": str(head)}}}
    last = [{"quantize": {"scheme": "int8", "keep_float": ["features*"], "accept_if": {"keep": "quantized"}}}, "export"]
    return {
        "alone": base | {"name": "alone", "stages": [{"train": training}, "export"]},
        "distilled": base | {"name": "distilled"} | teaching | {"stages": [{"distill": training | {"losses": losses}}, *last]},
    }


def run(recipe: dict[str, Any], out: Path) -> Path:
    """Run a recipe by the command line, or continue it; the folder of the run."""
    path = out / f"{recipe['name']}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "compress", "pipeline", str(path), "--out", str(out / "runs"), "--trust-code"]
    subprocess.run(command, check=True, env=environment)
    folders: list[Path] = sorted((out / "runs" / recipe["name"]).iterdir(), key=lambda each: each.stat().st_mtime)
    return folders[-1]


def errors(logits: Logits, test: list[Clip], names: tuple[str, ...]) -> Errors:
    """Errors and number of words, then of characters, of each clip, (N, 4)."""
    rows = []
    for wave, text in test:
        found = greedy_texts(logits(wave), names)[0]
        words = text.split()
        rows.append((edit_distance(found.split(), words), len(words), edit_distance(found, text), len(text)))
    return np.array(rows)


def of_file(path: Path) -> Logits:
    """Logits of an ONNX file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda wave: np.asarray(session.run(None, feeds(wave))[0])


def feeds(wave: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Inputs for one clip."""
    return {"audio": wave[None], "attention_mask": np.ones((1, len(wave)), dtype=np.int64)}


def of_module(module: WhisperTeacher) -> Logits:
    """Logits of the teacher."""

    def logits(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(module(*map(torch.from_numpy, feeds(wave).values())).numpy())

    return logits


def rate(rows: Errors, column: int) -> float:
    """Errors per word (column 0) or character (column 2)."""
    return float(rows[..., column].sum() / rows[..., column + 1].sum())


def interval(value: Callable[[NDArray[np.int64]], float], count: int) -> tuple[float, float]:
    """95 % bootstrap interval over the clips of a value of their numbers."""
    drawn = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    low, high = np.quantile([value(chosen) for chosen in drawn], (0.025, 0.975))
    return 100 * float(low), 100 * float(high)


def shown(rows: Errors, column: int) -> str:
    """A rate with its interval, in percent."""
    low, high = interval(lambda chosen: rate(rows[chosen], column), len(rows))
    return f"{100 * rate(rows, column):.1f} % ({low:.1f} to {high:.1f})"


def change(rows: Mapping[str, Errors], after: str, before: str, column: int) -> tuple[float, str]:
    """Difference of a rate of two networks on the same clips: the upper end of its interval in points, and both in words."""
    one, other = rows[after], rows[before]
    low, high = interval(lambda chosen: rate(one[chosen], column) - rate(other[chosen], column), len(one))
    value = 100 * (rate(one, column) - rate(other, column))
    return high, f"{value:+.1f} points (paired 95 % interval {low:+.1f} to {high:+.1f})"


def section(
    rows: Mapping[str, Errors], sizes: Mapping[str, float], timings: Mapping[str, Timing], about: str, seconds: float
) -> str:
    """The Markdown section."""
    machine = host().hardware
    timed_on = (
        f"Timed in turns by one thread of {machine.cpu if machine else 'this machine'} while other programs ran, a clip of "
        f"{seconds:.1f} s; these networks see the whole clip, so the text comes that long after its end."
    )
    lines = [HEADING, "", about, "", timed_on]
    lines += ["", "| network | size | WER | CER | latency, median | real-time factor |", "|---|---|---|---|---|---|"]
    for name, each in rows.items():
        timed = timings.get(name)
        latency = (
            "not measured (torch) | not measured"
            if timed is None or timed.p50.value is None
            else (f"{timed.p50.value:.2f} ms | {timed.p50.value / 1e3 / seconds:.4f}")
        )
        lines.append(f"| {name} | {sizes[name]:.2f} MB | {shown(each, 0)} | {shown(each, 2)} | {latency} |")
    for after, before, what, most in (
        ("distilled", "alone", "an interval below 0", 0.0),
        ("int8", "distilled", "below 0.2", 0.2),
    ):
        high, words = change(rows, after, before, 0)
        verdict = "**met**" if high < most else "**not shown**, for the interval reaches across it"
        letters = change(rows, after, before, 2)[1]
        lines += ["", f"{after} against {before}: WER {words}, goal {what}: {verdict}; CER {letters}."]
    gain, smaller = speedup(timings["distilled"], timings["int8"]), sizes["distilled"] / sizes["int8"]
    faster = f"÷ {gain.value:.2f} in time ({gain.low:.2f} to {gain.high:.2f})"
    lines += [
        "",
        f"int8 against float: ÷ {smaller:.2f} in size, {faster}; against the teacher ÷ {sizes['teacher'] / sizes['int8']:.0f}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("whisper", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    out = given.out.resolve()
    manifest = out / "prompts"
    write_manifest(given.prompts, manifest)
    splits = {name: clips(manifest, name) for name in PARTS}
    told = [text for _, text in splits["train"]]
    names = character_names(told, None, told)
    torch.set_num_threads(1)
    head = out / "head.safetensors"
    module = teacher(manifest, given.whisper.resolve(), head, names)
    rows = {"teacher": errors(of_module(module), splits["test"], names)}
    print(shown(rows["teacher"], 0), flush=True)
    folders = {
        name: run(each, out)
        for name, each in recipes(manifest, given.whisper.resolve(), head, given.epochs, given.seed).items()
    }
    files = {
        "alone": folders["alone"] / "artifacts" / "host" / "model.onnx",
        "distilled": folders["distilled"] / "01-distill" / "model.onnx",
        "int8": folders["distilled"] / "artifacts" / "host" / "model.onnx",
    }
    rows |= {name: errors(of_file(path), splits["test"], names) for name, path in files.items()}
    typical = sorted((wave for wave, _ in splits["test"]), key=len)[len(splits["test"]) // 2]
    timings = measure(files, feeds(typical), TimingPlan.of(SECONDS), batch=1)
    parameters = sum(each.numel() for each in module.parameters())
    sizes = {"teacher": 4e-6 * parameters, **{name: path.stat().st_size / 1e6 for name, path in files.items()}}
    about = describe(splits, given.epochs, given.seed)
    page = section(rows, sizes, timings, about, len(typical) / RATE)
    print(page)
    if given.page is not None:
        replace_section(given.page, page)


def describe(splits: Mapping[str, list[Clip]], epochs: int, seed: int) -> str:
    """What was trained on what."""
    minutes = {name: sum(len(wave) for wave, _ in each) / RATE / 60 for name, each in splits.items()}
    counted = ", ".join(f"{len(splits[name])} {name} clips ({minutes[name]:.1f} min)" for name in splits)
    known = {word for _, text in splits["train"] for word in text.split()}
    words = [word for _, text in splits["test"] for word in text.split()]
    new = sum(word not in known for word in words) / len(words)
    return (
        f"{counted} of at most {MOST_S:g} s, one speaker, 8 kHz; no text is in two splits, and {new:.0%} of the test words are "
        f"in no training text. {HEAD_EPOCHS} epochs for the head of the teacher, {epochs} each for the student alone and "
        f"distilled, no augmentation, seed {seed}. Intervals are bootstrapped over clips."
    )


if __name__ == "__main__":
    main()
