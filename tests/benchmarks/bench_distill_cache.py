"""What a distillation epoch costs with cached teacher answers, beside a plain training epoch of the same student.

    python tests/benchmarks/bench_distill_cache.py --repeats 9

Both kinds of epochs are interleaved, so that a drift of the machine hits both alike. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from compress.data.settings import DataSettings
from compress.data.sources import load
from compress.models.settings import ModelSettings
from compress.models.sources import build
from compress.tasks.classification import Classification
from compress.train.answers import TeacherAnswers, weights_hash
from compress.train.loop import fit
from compress.train.settings import Training, default_losses

TARGET = 1.10


def measure(student: str, teacher: str, image_size: int, repeats: int, limit: int | None) -> dict[str, list[float]]:
    """Seconds of each repeat of a plain epoch, and of a distillation epoch with cached teacher answers."""
    here = Path.cwd()
    data = load(DataSettings(source="digits", image_size=image_size, limit=limit), base=here)
    small, large = (
        build(ModelSettings(source=f"torchvision:{name}"), data.spec, seed=0, base=here).module for name in (student, teacher)
    )
    hard_labels = tuple(term for term in default_losses() if not term.needs)
    training = Training(epochs=1, batch_size=64)
    seconds: dict[str, list[float]] = {"plain": [], "distill, cached": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answers = TeacherAnswers([large], data.train, key=weights_hash(large), cache=folder, device="cpu")
        answers.fill([0])
        for repeat in range(repeats + 1):
            for kind, spent in seconds.items():
                terms, asked = (hard_labels, None) if kind == "plain" else (default_losses(), answers)
                module = copy.deepcopy(small)
                start = time.perf_counter()
                fit(
                    module,
                    training,
                    data=data,
                    task=Classification(),
                    terms=terms,
                    seed=0,
                    folder=folder / f"{kind}-{repeat}",
                    teacher=asked,
                    device="cpu",
                )
                spent.append(time.perf_counter() - start)
    return {kind: spent[1:] for kind, spent in seconds.items()}  # the first repeat warms up


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(ratios, size=(2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="mobilenet_v2")
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--limit", type=int, default=None, help="training images; all by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    seconds = measure(given.student, given.teacher, given.image_size, given.repeats, given.limit)
    ratios = [b / a for a, b in zip(seconds["plain"], seconds["distill, cached"], strict=True)]
    low, high = interval(ratios)
    ratio = statistics.median(ratios)
    print(
        f"{given.student} from {given.teacher}, digits, {given.image_size} px, {given.threads} threads, {given.repeats} repeats"
    )
    print()
    print("| epoch | median s | min s | max s |\n|---|---|---|---|")
    for kind, spent in seconds.items():
        print(f"| {kind} | {statistics.median(spent):.2f} | {min(spent):.2f} | {max(spent):.2f} |")
    verdict = "met" if ratio <= TARGET else "missed"
    print(f"\nmedian of the ratios {ratio:.3f} (95 % interval {low:.3f} to {high:.3f}); target at most {TARGET:.2f}: {verdict}")


if __name__ == "__main__":
    main()
