"""Networks of images and texts: a real recognizer of lines (PP-OCRv4) to int8 by `compress quantize`, judged on drawn lines.

    python tests/benchmarks/bench_image_text.py RECOGNIZER.onnx --out DIR [--lines 200] [--calibration 64] [--page PAGE.md]

RECOGNIZER is `ch_PP-OCRv4_rec_infer.onnx` of the package `rapidocr-onnxruntime` (Apache-2.0), whose characters are in its
metadata. It takes lines of 48 pixels in height, (x / 255 − 0.5) / 0.5, in the order blue, green, red. Lines are drawn by
`draw_line` (synthetic), those of calibration with other seeds than those of the test. DIR keeps the run. Prints a Markdown
section, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from compress.config.devices import host
from compress.core.seed_of import seed_of
from compress.data.sources.image_text.draw_line import draw_line
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing, measure, speedup
from compress.tasks.ctc_decoding import BLANK_NAME, greedy_texts
from compress.tasks.edit_distance import edit_distance
from tests.benchmarks.vision_table import replace_section

SIZE = (48, 320)
INPUT = "x"
SECONDS = 4.0
RESAMPLES = 2000
HEADING = "## A recognizer of lines: PP-OCRv4 to int8"
Array = NDArray[np.float32]


def drawn(split: str, count: int) -> tuple[Array, list[str]]:
    """Inputs of the network, (N, 3, 48, 320), and their texts.

    Args:
        split: Part of the seed.
        count: N.
    """
    lines = [draw_line(np.random.default_rng(seed_of("bench_image_text", split, index)), SIZE) for index in range(count)]
    pixels = np.stack([image[::-1] for image, _ in lines]).astype(np.float32)
    return (pixels / 255 - 0.5) / 0.5, [text for _, text in lines]


def characters(path: Path) -> list[str]:
    """Names of the classes: blank, those of the metadata, and the space."""
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return [BLANK_NAME, *entries["character"].split("\n"), " "]


def errors(path: Path, inputs: Array, texts: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    """Errors and characters of each line, (N, 2)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = []
    for index, text in enumerate(texts):
        chances = session.run(None, {name: inputs[index : index + 1]})[0]
        rows.append((edit_distance(greedy_texts(chances, names)[0], text), len(text)))
    return np.array(rows)


def rate(rows: NDArray[np.int64]) -> float:
    """Errors per character."""
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def interval(rows: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[float, float]:
    """95 % bootstrap interval of the difference of two rates on the same lines."""
    generator = np.random.default_rng(0)
    drawn_rows = generator.integers(0, len(rows), (RESAMPLES, len(rows)))
    values = [rate(rows[chosen]) - rate(other[chosen]) for chosen in drawn_rows]
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def quantized(recognizer: Path, folder: Path, calibration: int) -> Path:
    """The int8 file of `compress quantize`, made once."""
    files = sorted(folder.glob("reports/*/*/artifacts/host/model.onnx"))
    if files:
        return files[-1]
    arrays = folder / "lines.npz"
    np.savez(arrays, **{INPUT: drawn("calibration", calibration)[0]})
    command = [sys.executable, "-m", "compress", "quantize", str(recognizer), "--data", str(arrays), "--scheme", "int8"]
    command += ["--samples", str(max(16, calibration // 2)), "--shape", f"{INPUT}:1x3x48x320", "--out", str(folder / "reports")]
    command += ["--set", "stages.quantize.accept_if.keep=quantized"]
    subprocess.run(command, check=True)
    return sorted(folder.glob("reports/*/*/artifacts/host/model.onnx"))[-1]


def section(files: Mapping[str, Path], rows: Mapping[str, NDArray[np.int64]], timings: Mapping[str, Timing]) -> str:
    """The Markdown section."""
    machine = host().hardware
    before, after = rows["float"], rows["int8"]
    low, high = interval(after, before)
    change = 100 * (rate(after) - rate(before))
    lines = [
        HEADING,
        "",
        f"{len(before)} drawn (synthetic) lines of random words and numbers, 48 × 320 pixels, by `compress quantize --scheme "
        f"int8`; one thread of {machine.cpu if machine else 'this machine'}, files timed in turns while other programs ran.",
        "",
        "| file | size | character error rate | lines without an error | latency, median | against float |",
        "|---|---|---|---|---|---|",
    ]
    for name, path in files.items():
        own, p50 = rows[name], timings[name].p50
        ratio = speedup(timings["float"], timings[name])
        gain = "—" if name == "float" else f"÷ {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        lines.append(
            f"| {name} | {path.stat().st_size / 1e6:.2f} MB | {100 * rate(own):.2f} % | "
            f"{100 * (own[:, 0] == 0).mean():.1f} % | {p50.value:.1f} ms ({p50.low:.1f} to {p50.high:.1f}) | {gain} |"
        )
    verdict = (
        "met" if 100 * high <= 0.5 else "met by the estimate, and the interval reaches across it" if change <= 0.5 else "missed"
    )
    lines += [
        "",
        f"Change of the error rate: {change:+.2f} points (95 % interval {100 * low:+.2f} to {100 * high:+.2f}); the goal is at "
        f"most 0.5 points: {verdict}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizer", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--calibration", type=int, default=64)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    inputs, texts = drawn("test", arguments.lines)
    names = characters(arguments.recognizer)
    files = {"float": arguments.recognizer}
    rows = {"float": errors(arguments.recognizer, inputs, texts, names)}
    print(json.dumps({"float": rate(rows["float"])}), flush=True)
    files["int8"] = quantized(arguments.recognizer, arguments.out, arguments.calibration)
    rows["int8"] = errors(files["int8"], inputs, texts, names)
    timings = measure(files, {INPUT: inputs[:1]}, TimingPlan.of(SECONDS), batch=1)
    page = section(files, rows, timings)
    print(page)
    if arguments.page is not None:
        replace_section(arguments.page, page)


if __name__ == "__main__":
    main()
